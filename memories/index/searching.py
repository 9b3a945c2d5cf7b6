"""Asking the index for what is near."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from opentelemetry.trace import SpanKind

from memories import cache_use, measured
from memories.embeddings import embed_query
from memories.embeddings.backend import Vectors
from memories.filters import EVERYTHING, Filters
from memories.index import generations
from memories.index.client import DEPENDENCY
from memories.index.collections import with_collection
from memories.index.metadata import where
from memories.models import Generation, Tenant
from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


class Question(NamedTuple):
    """A query as a vector, and the collection whose vectors it can be compared with."""

    generation: Generation
    vector: Vectors


class Hit(NamedTuple):
    id: str
    memory_log_id: int
    document: str
    metadata: dict[str, Any]
    distance: float

    @property
    def similarity(self) -> float:
        return similarity_of(self.distance)


def similarity_of(distance: float) -> float:
    """0 (opposite) to 1 (the same): a cosine distance of 0.234 is 0.883."""
    return 1 - distance / 2


def question(tenant: Tenant, text: str) -> Question | None:
    """The text as the tenant's index understands it; None when the tenant has no index, and so no memories in it.

    In the former model while a new one's collection is being filled; in the new one when the former cannot be
    asked any more. Raises Unavailable.
    """
    active, building = generations.of_tenant(tenant)
    if active is None:
        return Question(building, _vector(building, text)) if building else None
    try:
        return Question(active, _vector(active, text))
    except Unavailable:
        if building is None:
            raise
        return Question(building, _vector(building, text))


def nearest(asked: Question, *, limit: int, filters: Filters = EVERYTHING) -> list[Hit]:
    """The nearest memories in the asked collection, nearest first.

    Raises Unavailable, also for a collection that does not hold everything yet.
    """
    generation, vector = asked
    if generation.state == Generation.State.BUILDING:
        raise Unavailable(DEPENDENCY, f"the collection {generation.collection} is still being filled")
    if generation.chroma_id is None:
        return []

    def query(collection: "Collection") -> list[Hit]:
        return _hits(
            collection.query(
                query_embeddings=vector[np.newaxis],
                n_results=limit,
                where=where(filters),
                include=["documents", "metadatas", "distances"],
            )
        )

    about = {"db.system.name": "chroma", "db.collection.name": generation.collection}
    with measured.tracer.start_as_current_span("index query", kind=SpanKind.CLIENT, attributes=about):
        return with_collection(generation, query)


def _vector(generation: Generation, text: str) -> Vectors:
    with measured.tracer.start_as_current_span(
        "embed query", attributes={"embedding.model": generation.model}
    ):
        vector = embed_query(text, generations.embedder(generation))
    cache_use.keep()
    return vector


def _hits(found: Any) -> list[Hit]:
    columns = (found[name][0] for name in ("ids", "documents", "metadatas", "distances"))
    return [
        # Rounding can take the distance of the same vector a hair below zero.
        Hit(id, int(metadata["memory_log_id"]), document or "", dict(metadata), max(0.0, float(distance)))
        for id, document, metadata, distance in zip(*columns, strict=True)
    ]
