"""Search: by meaning, by words, or by both. PostgreSQL has the last word on each memory."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import models

import outbox
from memories.background import in_background
from memories.filters import EVERYTHING, Filters
from memories.index import availability, generations
from memories.index.collections import CollectionLost, NotFilled
from memories.index.query import QueryVector, make_query_vector, nearest, similarity_of
from memories.indexing import fill
from memories.search import exact
from memories.search.hybrid import Rankings, best
from memories.search.lexical import lexical_search
from memories.search.results import SearchHit, read, read_indexed
from memories.tenants import Tenant
from outbox import Unavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# How far down a ranking is read to be fused: what stands lower in both changes nothing.
DEPTH = 50

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
    # 0 to 1; see SearchHit.similarity. By words alone nothing is known of it.
    min_similarity: float = 0.0
    mode: Mode = Mode.HYBRID
    filters: Filters = EVERYTHING


@dataclass(frozen=True)
class Answer:
    found: list[SearchHit]
    # Where vectors were compared: chroma, or pgvector while Chroma is away; "" by words alone.
    backend: str


def search(query: Query) -> list[SearchHit]:
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
    query_vector = make_query_vector(generations.of_tenant(query.tenant), query.text)
    ask = partial(nearest, query_vector, limit=query.limit, filters=query.filters)
    distances, backend = _distances(
        query, query.limit, query_vector, ask if availability.is_available() else None
    )
    if backend == CHROMA:
        found = read_indexed(query.tenant, distances, query.filters, query_vector)
    else:
        scores = {id: similarity_of(distance) for id, distance in distances.items()}
        found = read(query.tenant, scores, query_vector)
    return Answer(_similar(found, query), backend)


def _by_words(query: Query) -> list[SearchHit]:
    scores = dict(lexical_search(query.tenant, query.text, query.limit, query.filters))
    return read(query.tenant, scores, query_vector=None)


def _by_both(query: Query) -> Answer:
    """Both rankings fused; the lexical one alone where nobody can embed the question.

    PostgreSQL ranks by words while the other thread waits for the embedder and for Chroma.
    """
    depth = max(DEPTH, query.limit)
    live, is_there = generations.of_tenant(query.tenant), availability.is_available()
    with in_background() as submit:
        embedded = submit(make_query_vector, live, query.text)
        if is_there:
            near = submit(lambda: nearest(embedded.result(), limit=depth, filters=query.filters))
        words = [found.memory_id for found in lexical_search(query.tenant, query.text, depth, query.filters)]
    try:
        query_vector = embedded.result()
        distances, backend = _distances(query, depth, query_vector, near.result if is_there else None)
    except Unavailable as error:
        if query.min_similarity:
            raise
        logger.warning("Searching by words alone: %s", error)
        query_vector, distances, backend = None, {}, ""
    rankings = Rankings(words, list(distances), from_index=backend == CHROMA)
    limit = None if query.min_similarity else query.limit
    found = best(rankings, query.tenant, query.filters, query_vector=query_vector, limit=limit)
    return Answer(_similar(found, query)[: query.limit], backend)


def _distances(
    query: Query, limit: int, query_vector: QueryVector | None, ask: Callable[[], dict[int, float]] | None
) -> tuple[dict[int, float], str]:
    """Of the nearest memories, and where it was looked: in PostgreSQL, where the index cannot be asked."""
    if query_vector is None:
        return {}, CHROMA
    distances = _from_index(ask) if ask else None
    if distances is None:
        return exact.nearest(query.tenant, query_vector, limit=limit, filters=query.filters), PGVECTOR
    return distances, CHROMA


def _from_index(ask: Callable[[], Result]) -> Result | None:
    """What Chroma says; None where it cannot."""
    try:
        return ask()
    except CollectionLost as lost:
        logger.warning("Searching in PostgreSQL: %s", lost)
        fill.refill(lost)
    except NotFilled:
        pass  # no fault of Chroma's: other tenants' collections answer
    except Unavailable as error:
        availability.mark_unavailable(error)
    return None


def _similar(found: list[SearchHit], query: Query) -> list[SearchHit]:
    return [one for one in found if (one.similarity or 0.0) >= query.min_similarity]


def _record(query: Query, results: int) -> None:
    """For the log: what was asked for, never the words."""
    user_id, project_id = query.tenant
    told = {"user_id": user_id, "project_id": project_id, "limit": query.limit, "results_count": results}
    outbox.record("vector.searched", aggregate=("search", f"{user_id}/{project_id}"), payload=told)
