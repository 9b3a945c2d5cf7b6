"""Reading what a collection holds of one memory."""

from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings

from memories.index import generations
from memories.index.client import bounded
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.models import Generation, MemoryLog

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


class Held(NamedTuple):
    """A collection, and what it holds of the memory: None where it holds nothing."""

    generation: Generation
    document: str | None
    metadata: dict[str, Any] | None


def held(row: MemoryLog) -> list[Held]:
    """What each collection of the tenant holds of the memory. Raises Unavailable, CollectionUnusable, ChromaError."""
    with bounded(settings.CHROMA_SEARCH_TIMEOUT_SECONDS):
        return [_held(generation, row) for generation in generations.of_tenant(row.tenant).all]


def _held(generation: Generation, row: MemoryLog) -> Held:
    if generation.chroma_id is None:
        return Held(generation, None, None)
    id = document_id(row.id, row.tenant)

    def get(collection: "Collection") -> Any:
        return collection.get(ids=[id], include=["documents", "metadatas"])

    found = with_collection(generation, get)
    if not found["ids"]:
        return Held(generation, None, None)
    return Held(generation, found["documents"][0], dict(found["metadatas"][0] or {}))
