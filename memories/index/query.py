"""Asking the index for what is near."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from opentelemetry.trace import SpanKind

from memories import metrics
from memories.embeddings import embed_query
from memories.embeddings.backend import Vectors
from memories.filters import EVERYTHING, Filters
from memories.index import generations
from memories.index.client import DEPENDENCY
from memories.index.collections import NotFilled, look_for, with_collection
from memories.index.ids import memory_id
from memories.index.metadata import where
from memories.models import Generation
from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


class QueryVector(NamedTuple):
    """A query as a vector, and the collection whose vectors it can be compared with."""

    generation: Generation
    vector: Vectors


def similarity_of(distance: float) -> float:
    """0 (opposite) to 1 (the same): a cosine distance of 0.234 is 0.883."""
    return 1 - distance / 2


def embed_question(live: generations.Live, text: str) -> QueryVector | None:
    """The text as the tenant's index understands it; None when the tenant has no index, and so no memories in it.

    In the former model while a new one's collection is being filled; in the new one when the former cannot be
    query_vector any more. Raises Unavailable.
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


def nearest(
    query_vector: QueryVector | None, *, limit: int, filters: Filters = EVERYTHING
) -> dict[int, float]:
    """The ids of the nearest memories in the collection with their cosine distance, nearest first.

    Nothing else, which PostgreSQL knows better: reading documents takes Chroma as long as finding them.
    Raises Unavailable; CollectionLost and NotFilled where the collection is at fault, and not Chroma.
    """
    found = _ask(query_vector, limit, filters) if query_vector else None
    if found is None:
        return {}
    # Rounding can take the distance of the same vector a hair below zero.
    hits = zip(found["ids"][0], found["distances"][0], strict=True)
    return {id: max(0.0, distance) for document, distance in hits if (id := memory_id(document)) is not None}


def _ask(query_vector: QueryVector, limit: int, filters: Filters) -> Any:
    """What Chroma answers; None where nothing was written yet."""
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
        found = _answered(generation, query)
    if not found["ids"][0] and not filters:
        look_for(generation)
    return found


def _answered(generation: Generation, query: Callable[["Collection"], Any]) -> Any:
    """Whatever is wrong inside Chroma, PostgreSQL can still answer."""
    from chromadb.errors import InternalError

    try:
        return with_collection(generation, query)
    except InternalError as error:
        raise Unavailable(DEPENDENCY, str(error)) from error


def _vector(generation: Generation, text: str) -> Vectors:
    with metrics.tracer.start_as_current_span(
        "embed query", attributes={"embedding.model": generation.model}
    ):
        return embed_query(text, generations.embedder(generation))
