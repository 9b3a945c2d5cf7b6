"""What a search answers with: the same shape, whichever store it was read from."""

from typing import Any, NamedTuple

from django.db.models import Case, FloatField, Func, IntegerField, Value, When
from django.db.models.expressions import F
from django.db.models.lookups import Exact
from pgvector.django import CosineDistance

from memories.fusion import best_first
from memories.index.metadata import metadata_of
from memories.index.names import document_id
from memories.index.searching import Hit, Question, similarity_of
from memories.models import MemoryLog, Tenant
from memories.text import searchable_text


class Found(NamedTuple):
    id: str
    memory_log_id: int
    document: str
    metadata: dict[str, Any]
    distance: float | None
    """Cosine; None where no vectors were compared."""
    similarity: float | None
    score: float
    """What the order is by: comparable within one answer only."""


def of_hit(hit: Hit) -> Found:
    """What the index found, best by its similarity."""
    return Found(*hit, similarity=hit.similarity, score=hit.similarity)


def read(tenant: Tenant, scores: dict[int, float], asked: Question | None) -> list[Found]:
    """The tenant's memories with these ids as PostgreSQL has them, best first, compared with the question."""
    rows = MemoryLog.objects.filter(
        id__in=scores, user_id=tenant.user_id, project_id=tenant.project_id
    ).defer("embedding")
    found = {row.id: row for row in rows.annotate(distance=_distance(asked))}
    return [_found(found[id], scores[id]) for id in best_first(scores) if id in found]


def _distance(asked: Question | None) -> Any:
    """None for a memory whose embedding is not there yet, or is of another text or model."""
    if asked is None:
        return Value(None, output_field=FloatField())
    return Case(
        When(
            embedded_hash=F("content_hash"),
            embedding_model=asked.generation.model,
            # A model that was set to another length: PostgreSQL refuses to compare the two.
            then=Case(
                When(
                    Exact(
                        Func(F("embedding"), function="vector_dims", output_field=IntegerField()),
                        asked.generation.dimensions,
                    ),
                    then=CosineDistance("embedding", asked.vector),
                ),
                output_field=FloatField(),
            ),
        ),
        output_field=FloatField(),
    )


def _found(row: Any, score: float) -> Found:
    distance = None if row.distance is None else max(0.0, row.distance)
    return Found(
        id=document_id(row.id, row.tenant),
        memory_log_id=row.id,
        document=searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data),
        metadata=metadata_of(row),
        distance=distance,
        similarity=None if distance is None else similarity_of(distance),
        score=score,
    )
