"""Search by meaning, by words, or by both. PostgreSQL decides on each memory."""

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

# This many ranks of each ranking are fused. Lower ranks change nothing.
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
    # 0 to 1, see SearchHit.similarity. Not for mode lexical, which compares no vectors.
    min_similarity: float = 0.0
    mode: Mode = Mode.HYBRID
    filters: Filters = EVERYTHING


@dataclass(frozen=True)
class Answer:
    found: list[SearchHit]
    # Where vectors were compared: chroma, or pgvector while Chroma is unavailable; "" for words alone.
    backend: str


def search(query: Query) -> list[SearchHit]:
    """Return the memories that match the query, best first.

    Raises Unavailable when the embedder is needed and unavailable.
    """
    return answer(query).found


def answer(query: Query) -> Answer:
    """Do what `search` does, name the store that compared vectors, and record a `vector.searched` event.

    A hit is never a memory that PostgreSQL no longer has, and never found by a former version of its text.
    """
    match query.mode:
        case Mode.VECTOR:
            answered = _search_vectors(query)
        case Mode.LEXICAL:
            answered = Answer(_search_words(query), backend="")
        case _:
            answered = _search_both(query)
    if settings.SEARCH_EVENTS:
        _record(query, len(answered.found))
    return answered


def _search_vectors(query: Query) -> Answer:
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


def _search_words(query: Query) -> list[SearchHit]:
    scores = dict(lexical_search(query.tenant, query.text, query.limit, query.filters))
    return read(query.tenant, scores, query_vector=None)


def _search_both(query: Query) -> Answer:
    """Fuse both rankings; use the lexical one alone when the embedder is unavailable.

    PostgreSQL ranks by words while a second thread waits for the embedder and for Chroma.
    """
    depth = max(DEPTH, query.limit)
    live, chroma_is_available = generations.of_tenant(query.tenant), availability.is_available()
    with in_background() as submit:
        embedded = submit(make_query_vector, live, query.text)
        if chroma_is_available:
            near = submit(lambda: nearest(embedded.result(), limit=depth, filters=query.filters))
        words = [found.memory_id for found in lexical_search(query.tenant, query.text, depth, query.filters)]
    try:
        query_vector = embedded.result()
        distances, backend = _distances(
            query, depth, query_vector, near.result if chroma_is_available else None
        )
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
    """Return the nearest memories' distances and the store that compared them: PostgreSQL if Chroma cannot answer."""
    if query_vector is None:
        return {}, CHROMA
    distances = _from_index(ask) if ask else None
    if distances is None:
        return exact.nearest(query.tenant, query_vector, limit=limit, filters=query.filters), PGVECTOR
    return distances, CHROMA


def _from_index(ask: Callable[[], Result]) -> Result | None:
    """Return Chroma's answer; None where it cannot answer."""
    try:
        return ask()
    except CollectionLost as lost:
        logger.warning("Searching in PostgreSQL: %s", lost)
        fill.refill(lost)
    except NotFilled:
        pass  # Chroma is available: other tenants' collections answer
    except Unavailable as error:
        availability.mark_unavailable(error)
    return None


def _similar(found: list[SearchHit], query: Query) -> list[SearchHit]:
    return [one for one in found if (one.similarity or 0.0) >= query.min_similarity]


def _record(query: Query, results: int) -> None:
    """Record the search in the event log, without the words of the query."""
    user_id, project_id = query.tenant
    payload = {"user_id": user_id, "project_id": project_id, "limit": query.limit, "results_count": results}
    outbox.record("vector.searched", aggregate=("search", f"{user_id}/{project_id}"), payload=payload)
