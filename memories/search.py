"""Search: by meaning, by words, or by both. PostgreSQL has the last word on each memory."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import models

import outbox
from memories import cache_use, exact, filling
from memories.beside import beside
from memories.filters import EVERYTHING, Filters
from memories.fusion import Rankings, best
from memories.hits import Found, read, read_indexed
from memories.index import generations, presence, searching
from memories.index.collections import CollectionLost, NotFilled
from memories.lexical import lexical_search
from memories.models import Tenant
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
    cache_use.keep()
    if settings.SEARCH_EVENTS:
        _record(query, len(answered.found))
    return answered


def _by_meaning(query: Query) -> Answer:
    asked = searching.question(generations.of_tenant(query.tenant), query.text)
    ask = partial(searching.nearest, asked, limit=query.limit, filters=query.filters)
    distances, backend = _distances(query, query.limit, asked, ask if presence.seems_there() else None)
    if backend == CHROMA:
        found = read_indexed(query.tenant, distances, query.filters, asked)
    else:
        scores = {id: searching.similarity_of(distance) for id, distance in distances.items()}
        found = read(query.tenant, scores, asked)
    return Answer(_similar(found, query), backend)


def _by_words(query: Query) -> list[Found]:
    scores = dict(lexical_search(query.tenant, query.text, query.limit, query.filters))
    return read(query.tenant, scores, asked=None)


def _by_both(query: Query) -> Answer:
    """Both rankings fused; the lexical one alone where nobody can embed the question.

    PostgreSQL ranks by words while the other thread waits for the embedder and for Chroma.
    """
    depth = max(DEPTH, query.limit)
    live, is_there = generations.of_tenant(query.tenant), presence.seems_there()
    with beside() as submit:
        question = submit(searching.question, live, query.text)
        if is_there:
            near = submit(lambda: searching.nearest(question.result(), limit=depth, filters=query.filters))
        words = [found.memory_id for found in lexical_search(query.tenant, query.text, depth, query.filters)]
    try:
        asked = question.result()
        distances, backend = _distances(query, depth, asked, near.result if is_there else None)
    except Unavailable as error:
        if query.min_similarity:
            raise
        logger.warning("Searching by words alone: %s", error)
        asked, distances, backend = None, {}, ""
    rankings = Rankings(words, list(distances), from_index=backend == CHROMA)
    limit = None if query.min_similarity else query.limit
    found = best(rankings, query.tenant, query.filters, asked=asked, limit=limit)
    return Answer(_similar(found, query)[: query.limit], backend)


def _distances(
    query: Query, limit: int, asked: searching.Question | None, ask: Callable[[], dict[int, float]] | None
) -> tuple[dict[int, float], str]:
    """Of the nearest memories, and where it was looked: in PostgreSQL, where the index cannot be asked."""
    if asked is None:
        return {}, CHROMA
    distances = _from_index(ask) if ask else None
    if distances is None:
        return exact.nearest(query.tenant, asked, limit=limit, filters=query.filters), PGVECTOR
    return distances, CHROMA


def _from_index(ask: Callable[[], Result]) -> Result | None:
    """What Chroma says; None where it cannot."""
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


def _similar(found: list[Found], query: Query) -> list[Found]:
    return [one for one in found if (one.similarity or 0.0) >= query.min_similarity]


def _record(query: Query, results: int) -> None:
    """For the log: what was asked for, never the words."""
    user_id, project_id = query.tenant
    told = {"user_id": user_id, "project_id": project_id, "limit": query.limit, "results_count": results}
    outbox.record("vector.searched", aggregate=("search", f"{user_id}/{project_id}"), payload=told)
