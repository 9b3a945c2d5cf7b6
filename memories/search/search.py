"""Search by meaning, by words, or by both. PostgreSQL decides on each memory."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from django.conf import settings
from django.db import models

import outbox
from memories import metrics
from memories.background import in_background
from memories.filters import EVERYTHING, Filters
from memories.index import availability, generations
from memories.index.collections import CollectionLost, NotFilled
from memories.index.query import Neighbours, QueryFailed, QueryVector, make_query_vector, nearest
from memories.indexing import fill
from memories.search import exact, meaning, results
from memories.search.hybrid import Fused, Trust, best, trust
from memories.search.lexical import Ranked, lexical_search
from memories.search.results import Explanation, SearchHit
from memories.tenants import Tenant
from outbox import Unavailable

logger = logging.getLogger(__name__)

# Asks Chroma for a number of neighbours.
Ask = Callable[[int], Neighbours]
# Makes hits of neighbours; the second argument tells that they are from the index.
Read = Callable[[Neighbours, bool], Fused]

# This many ranks of each ranking are fused. Lower ranks change nothing.
DEPTH = 50
# Chroma is asked for this many neighbours at most: beyond that, PostgreSQL is not slower.
MAX_ASKED = 2_000

CHROMA, PGVECTOR = "chroma", "pgvector"


class Mode(models.TextChoices):
    VECTOR = "vector"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True)
class Query:
    text: str
    # An empty project_id means all projects of the user, for memories.search.across.
    tenant: Tenant
    limit: int = 10
    # 0 to 1, see SearchHit.similarity. Not for mode lexical, which compares no vectors.
    min_similarity: float = 0.0
    mode: Mode = Mode.HYBRID
    filters: Filters = EVERYTHING
    # The vector of the text, if it was embedded before, or why it could not be.
    vector: QueryVector | Unavailable | None = None


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
    """Do what `search` does, name the store that compared vectors, and record a `vector.searched` event."""
    answered = find(query)
    record(query, answered)
    return answered


def find(query: Query) -> Answer:
    """Do what `answer` does, and record nothing.

    A hit is never a memory that PostgreSQL no longer has, and never found by a former version of its text.
    """
    match query.mode:
        case Mode.VECTOR:
            return search_vectors(query)
        case Mode.LEXICAL:
            return Answer(_search_words(query), backend="")
        case _:
            return _search_both(query)


def search_vectors(query: Query) -> Answer:
    """Return the memories that are nearest to the query. Raises Unavailable."""
    query_vector = _query_vector(query, generations.of_tenant(query.tenant))

    def read(neighbours: Neighbours, from_index: bool) -> Fused:
        given = _meaning(query, query_vector, neighbours, from_index=from_index, depth=query.limit)
        hits = meaning.read_nearest(given, query.filters)
        return Fused(hits, certain=sum((hit.distance or 0.0) <= neighbours.horizon for hit in hits))

    ask = _asking_chroma(query, query_vector) if availability.is_available() else None
    answered = _read_until_certain(query, query_vector, ask, read, depth=query.limit)
    return Answer(number(similar_enough(answered.found, query)), answered.backend)


def _search_words(query: Query) -> list[SearchHit]:
    return read_ranked(query, lexical_search(query.tenant, query.text, query.limit, query.filters))


def number(hits: Sequence[SearchHit]) -> list[SearchHit]:
    """Explain each hit of a ranking by meaning by its place."""
    return [hit._replace(explanation=Explanation(meaning_place=place)) for place, hit in enumerate(hits, 1)]


def read_ranked(query: Query, ranked: Sequence[Ranked]) -> list[SearchHit]:
    """Return the memories of a ranking by words."""
    hits = results.read(query.tenant, dict(ranked), query_vector=None)
    return [hit._replace(explanation=Explanation(place, hit.score)) for place, hit in enumerate(hits, 1)]


def _query_vector(query: Query, live: generations.Live) -> QueryVector | None:
    if isinstance(query.vector, Unavailable):
        raise query.vector
    return query.vector or make_query_vector(live, query.text)


def _trusted_vector(query: Query, live: generations.Live) -> tuple[QueryVector | None, Trust]:
    """Return the vector of the question, and how much it counts: just after the embedding this is cheap to tell."""
    query_vector = _query_vector(query, live)
    return query_vector, trust(query_vector, query.text)


def _search_both(query: Query) -> Answer:
    """Fuse both rankings; use the lexical one alone when the embedder is unavailable.

    PostgreSQL ranks by words while a second thread waits for the embedder and for Chroma.
    """
    depth = max(DEPTH, query.limit)
    live, chroma_is_available = generations.of_tenant(query.tenant), availability.is_available()
    with in_background() as submit:
        embedded = submit(_trusted_vector, query, live)
        if chroma_is_available:
            first = submit(lambda: nearest(embedded.result()[0], limit=depth, filters=query.filters))
        words = lexical_search(query.tenant, query.text, depth, query.filters)
    limit = None if query.min_similarity else query.limit

    def read(neighbours: Neighbours, from_index: bool) -> Fused:
        given = _meaning(query, query_vector, neighbours, from_index=from_index, depth=depth)
        horizon = neighbours.horizon
        return best(words, given, query.filters, trust=trusted, horizon=horizon, limit=limit)

    try:
        query_vector, trusted = embedded.result()
        ask = _asking_chroma(query, query_vector, first) if chroma_is_available else None
        answered = _read_until_certain(query, query_vector, ask, read, depth=depth)
    except Unavailable as error:
        if query.min_similarity:
            raise
        logger.warning("Searching by words alone: %s", error)
        query_vector, trusted = None, trust(None, query.text)
        answered = Answer(read(Neighbours({}), from_index=False).hits, backend="")
    return Answer(similar_enough(answered.found, query)[: query.limit], answered.backend)


def _meaning(
    query: Query, query_vector: QueryVector | None, neighbours: Neighbours, *, from_index: bool, depth: int
) -> dict[str, Any]:
    return meaning.parameters(
        neighbours, query.tenant, query.filters, query_vector, from_index=from_index, depth=depth
    )


def _asking_chroma(
    query: Query, query_vector: QueryVector | None, first: "Future[Neighbours] | None" = None
) -> Ask:
    """Return the function that asks Chroma for a number of neighbours. `first` is the first answer, if it was asked."""
    waiting = [first] if first else []

    def ask(limit: int) -> Neighbours:
        if waiting:
            return waiting.pop().result()
        return nearest(query_vector, limit=limit, filters=query.filters)

    return ask


def _read_until_certain(
    query: Query, query_vector: QueryVector | None, ask: Ask | None, read: Read, *, depth: int
) -> Answer:
    """Read the ranking by meaning from Chroma's neighbours, and ask for more until `depth` of its memories are certain.

    Memories that were changed or deleted since, or do not meet the filters, leave gaps in Chroma's answer. PostgreSQL
    compares all vectors where Chroma cannot answer, or where too many of its memories do not count.
    """
    if query_vector is None:
        return Answer(read(Neighbours({}), True).hits, CHROMA)
    wanted = depth
    while ask is not None and (neighbours := _from_index(partial(ask, wanted))) is not None:
        found = read(neighbours, True)
        is_all = neighbours.horizon == inf
        if found.certain >= depth or (is_all and not _lacks_memories(query, found, depth)):
            return Answer(found.hits, CHROMA)
        if is_all or wanted >= MAX_ASKED:
            break
        wanted = min(wanted * 4, MAX_ASKED)
    neighbours = exact.nearest(query.tenant, query_vector, limit=depth, filters=query.filters)
    return Answer(read(neighbours, False).hits, PGVECTOR)


def _lacks_memories(query: Query, found: Fused, depth: int) -> bool:
    """Tell whether Chroma did not find all memories of a small tenant: its index is approximate."""
    if query.filters:
        return False
    embedded = meaning.count_embedded(query.tenant, depth) if found.embedded is None else found.embedded
    return embedded > found.certain


def _from_index(ask: Callable[[], Neighbours]) -> Neighbours | None:
    """Return Chroma's answer; None where it cannot answer."""
    try:
        return ask()
    except CollectionLost as lost:
        logger.warning("Searching in PostgreSQL: %s", lost)
        fill.refill(lost)
    except QueryFailed as error:
        logger.warning("Searching in PostgreSQL: %s", error)  # Chroma is available to other queries
    except NotFilled:
        pass  # Chroma is available: other tenants' collections answer
    except Unavailable as error:
        availability.mark_unavailable(error)
    return None


def similar_enough(found: list[SearchHit], query: Query) -> list[SearchHit]:
    """Return the hits with at least the similarity that the query asks for."""
    return [one for one in found if (one.similarity or 0.0) >= query.min_similarity]


def record(query: Query, answered: Answer) -> None:
    """Count the search. Record it soon in the event log, without the words, if SEARCH_EVENTS says so."""
    metrics.searches.labels(query.mode, answered.backend or "none").inc()
    if not settings.SEARCH_EVENTS:
        return
    user_id, project_id = query.tenant
    found = len(answered.found)
    payload = {"user_id": user_id, "project_id": project_id, "limit": query.limit, "results_count": found}
    outbox.record_soon("vector.searched", aggregate=("search", f"{user_id}/{project_id}"), payload=payload)
