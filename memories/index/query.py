"""Nearest-neighbour queries to the index."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from django.conf import settings
from opentelemetry.trace import SpanKind

from memories import metrics
from memories.embeddings import embed_query
from memories.embeddings.backend import Vectors
from memories.filters import EVERYTHING, Filters
from memories.index import generations, quotas
from memories.index.client import bounded
from memories.index.collections import CollectionEmpty, NotFilled, check_collection, with_collection
from memories.index.ids import memory_id
from memories.index.metadata import where
from memories.models import Generation
from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


class QueryFailed(Exception):
    """Chroma could not run this query. It may still run others, so this is no outage."""


class Neighbours(NamedTuple):
    """The memories that are nearest to a query, as the store that compared them knows them."""

    # Cosine distances by id, nearest first.
    distances: dict[int, float]
    # The distance up to which no memory of the store is missing; infinite if all memories are there.
    horizon: float = inf


class QueryVector(NamedTuple):
    """The vector of a query, and the generation whose vectors it can be compared with."""

    generation: Generation
    vector: Vectors


def similarity_of(distance: float) -> float:
    """Return 0 (opposite) to 1 (the same): a cosine distance of 0.234 gives 0.883."""
    return 1 - distance / 2


def make_query_vector(live: generations.Live, text: str) -> QueryVector | None:
    """Embed the text by the model of the tenant's index; None when the tenant has no index.

    While a new model's collection is being filled, the former model embeds. If the former model is unavailable, the
    new one does. Raises Unavailable.
    """
    active, building = live
    if active is None:
        return QueryVector(building, _vector(building, text)) if building else None
    try:
        return QueryVector(active, _vector(active, text))
    except Unavailable:
        if building is None:
            raise
        return QueryVector(building, _vector(building, text))


def nearest(query_vector: QueryVector | None, *, limit: int, filters: Filters = EVERYTHING) -> Neighbours:
    """Return the nearest `limit` memories in the collection; some of them may not meet the filters.

    Documents and metadata are not read: PostgreSQL has them, and reading takes Chroma as long as searching.
    Raises Unavailable; CollectionLost, NotFilled or QueryFailed where Chroma as a whole may be available.
    """
    limit = min(limit, quotas.current().results)
    found = _query(query_vector, limit, filters) if query_vector else None
    if found is None:
        return Neighbours({})
    # Rounding can make the distance of an equal vector slightly negative.
    distances = [max(0.0, distance) for distance in found["distances"][0]]
    hits = zip(found["ids"][0], distances, strict=True)
    return Neighbours(
        {id: distance for document, distance in hits if (id := memory_id(document)) is not None},
        horizon=distances[-1] if len(distances) >= limit else inf,
    )


def _query(query_vector: QueryVector, limit: int, filters: Filters) -> Any:
    """Return Chroma's answer; None where nothing was written yet."""
    generation, vector = query_vector
    if generation.state == Generation.State.BUILDING:
        raise NotFilled(generation)
    if generation.chroma_id is None:
        return None

    def query(collection: "Collection") -> Any:
        return collection.query(
            query_embeddings=vector[np.newaxis],
            n_results=limit,
            where=where(filters),
            include=["distances"],
        )

    about = {"db.system.name": "chroma", "db.collection.name": generation.collection}
    with metrics.tracer.start_as_current_span("index query", kind=SpanKind.CLIENT, attributes=about):
        found = _translated(generation, query)
    if not found["ids"][0] and not filters:
        check_collection(generation)
    return found


def _translated(generation: Generation, query: Callable[["Collection"], Any]) -> Any:
    """Raise QueryFailed for other errors of Chroma, so that PostgreSQL answers instead."""
    from chromadb.errors import ChromaError

    try:
        with bounded(settings.CHROMA_SEARCH_TIMEOUT_SECONDS):
            return with_collection(generation, query)
    except CollectionEmpty:
        return {"ids": [[]], "distances": [[]]}
    except ChromaError as error:
        raise QueryFailed(f"{generation.collection}: {error}") from error


def _vector(generation: Generation, text: str) -> Vectors:
    with metrics.tracer.start_as_current_span(
        "embed query", attributes={"embedding.model": generation.model}
    ):
        return embed_query(text, generations.embedder(generation))
