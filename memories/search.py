"""Search: by meaning, by words, or by both. PostgreSQL has the last word on each memory."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import F

import outbox
from memories import exact, filling, sync
from memories.filters import EVERYTHING, Filters
from memories.fusion import Ranking, best_first, fuse
from memories.hits import Found, of_hit, read
from memories.index import presence, searching
from memories.index.collections import CollectionLost, NotFilled
from memories.lexical import lexical_search
from memories.models import MemoryLog, Tenant
from memories.neighbours import with_neighbours
from outbox import Unavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# How far down a ranking is read to be fused: what stands lower in both changes nothing.
DEPTH = 50
# Beside 1 for the words. Flat between 0.5 and 1, see docs/search.md.
VECTOR_WEIGHT = 0.75

CHROMA, PGVECTOR = "chroma", "pgvector"


class Mode(models.TextChoices):
    VECTOR = "vector"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True)
class Query:
    text: str
    tenant: Tenant
    limit: int = 10
    # 0 to 1; see Found.similarity. By words alone nothing is known of it.
    min_similarity: float = 0.0
    mode: Mode = Mode.HYBRID
    filters: Filters = EVERYTHING


@dataclass(frozen=True)
class Answer:
    found: list[Found]
    # Where vectors were compared: chroma, or pgvector while Chroma is away; "" by words alone.
    backend: str


def search(query: Query) -> list[Found]:
    """The memories that answer the question, best first. Raises Unavailable where the embedder is needed and away."""
    return answer(query).found


def answer(query: Query) -> Answer:
    """As `search`, telling where it was looked; a `vector.searched` event is recorded.

    Never a memory that PostgreSQL no longer has, nor one for what it said before it was changed.
    """
    match query.mode:
        case Mode.VECTOR:
            answered = _by_meaning(query)
        case Mode.LEXICAL:
            answered = Answer(_by_words(query), backend="")
        case _:
            answered = _by_both(query)
    if settings.SEARCH_EVENTS:
        _record(query, len(answered.found))
    return answered


def _by_meaning(query: Query) -> Answer:
    near = _near(query, searching.question(query.tenant, query.text))
    similar = [one for one in near.found if (one.similarity or 0.0) >= query.min_similarity]
    return Answer(similar, near.backend)


def _by_words(query: Query) -> list[Found]:
    scores = dict(lexical_search(query.tenant, query.text, query.limit, query.filters))
    return read(query.tenant, scores, asked=None)


def _by_both(query: Query) -> Answer:
    """Both rankings fused; the lexical one alone where nobody can embed the question."""
    depth = max(DEPTH, query.limit)
    words = [found.memory_id for found in lexical_search(query.tenant, query.text, depth, query.filters)]
    asked, meanings, backend = _meaning(query, depth)
    scores = fuse([Ranking(words), Ranking(meanings, VECTOR_WEIGHT)])
    scores = with_neighbours(scores, query.tenant, query.filters)
    if not query.min_similarity:
        scores = {id: scores[id] for id in best_first(scores)[: query.limit]}
    found = read(query.tenant, scores, asked)
    similar = [one for one in found if (one.similarity or 0.0) >= query.min_similarity]
    return Answer(similar[: query.limit], backend)


def _meaning(query: Query, depth: int) -> tuple[searching.Question | None, list[int], str]:
    """The question, the ids of the memories nearest to it, and where it was looked."""
    try:
        asked = searching.question(query.tenant, query.text)
    except Unavailable as error:
        if query.min_similarity:
            raise
        logger.warning("Searching by words alone: %s", error)
        return None, [], ""
    if asked is None:
        return None, [], CHROMA
    ids = _from_index(lambda: searching.nearest_ids(asked, limit=depth, filters=query.filters))
    if ids is None:
        return asked, list(exact.nearest(query.tenant, asked, limit=depth, filters=query.filters)), PGVECTOR
    return asked, _as_indexed(ids, query.tenant), CHROMA


def _near(query: Query, asked: searching.Question | None) -> Answer:
    """In the index; in PostgreSQL, with the same scores, while the index is away."""
    if asked is None:
        return Answer([], CHROMA)
    hits = _from_index(lambda: searching.nearest(asked, limit=query.limit, filters=query.filters))
    if hits is not None:
        return Answer([of_hit(hit) for hit in _still_true(hits, query.tenant)], CHROMA)
    distances = exact.nearest(query.tenant, asked, limit=query.limit, filters=query.filters)
    scores = {id: searching.similarity_of(distance) for id, distance in distances.items()}
    return Answer(read(query.tenant, scores, asked), PGVECTOR)


def _from_index(ask: Callable[[], Result]) -> Result | None:
    """What Chroma says; None where it cannot."""
    if not presence.seems_there():
        return None
    try:
        return ask()
    except CollectionLost as lost:
        logger.warning("Searching in PostgreSQL: %s", lost)
        filling.refill(lost)
    except NotFilled:
        pass  # no fault of Chroma's: other tenants' collections answer
    except Unavailable as error:
        presence.went_away(error)
    return None


def _as_indexed(ids: list[int], tenant: Tenant) -> list[int]:
    """Those that are as they were when the index learnt of them."""
    rows = MemoryLog.objects.filter(id__in=ids, indexed_version=F("version"), **tenant._asdict())
    current = set(rows.values_list("id", flat=True))
    return [id for id in ids if id in current]


def _still_true(hits: list[searching.Hit], tenant: Tenant) -> list[searching.Hit]:
    rows = MemoryLog.objects.filter(
        id__in=[hit.memory_log_id for hit in hits], user_id=tenant.user_id, project_id=tenant.project_id
    )
    current: dict[int, Any] = dict(rows.values_list("id", "content_hash"))
    return [hit for hit in hits if current.get(hit.memory_log_id) == hit.metadata.get("content_hash")]


def _record(query: Query, results: int) -> None:
    """For the log: what was asked for, never the words. It does not wait for the disk."""
    user_id, project_id = query.tenant
    told = {"user_id": user_id, "project_id": project_id, "limit": query.limit, "results_count": results}
    with sync.derived_write():
        outbox.publish("vector.searched", aggregate=("search", f"{user_id}/{project_id}"), payload=told)
