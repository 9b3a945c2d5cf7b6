"""Reading what a collection holds of memories."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings

from memories.index import generations
from memories.index.client import bounded
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.models import Generation, MemoryLog

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


Metadata = dict[str, Any]

PAGE = 1_000


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


def metadata(generation: Generation, documents: Sequence[str]) -> dict[str, Metadata]:
    """Return the metadata of those documents that exist.

    A text counts as metadata, and so as a difference, where CHROMA_STORE_DOCUMENTS says that Chroma stores none.
    Raises Unavailable, CollectionLost.
    """
    if generation.chroma_id is None or not documents:
        return {}

    def read(collection: "Collection") -> dict[str, Metadata]:
        return _by_id(collection.get(ids=list(documents), include=_included()))

    return with_collection(generation, read)


def metadata_between(generation: Generation, after: int, until: int) -> dict[str, Metadata]:
    """Return the metadata of the documents of memories with ids after `after` up to `until`. Raises as `metadata`."""
    if generation.chroma_id is None:
        return {}
    between: dict[str, Any] = {
        "$and": [{"memory_log_id": {"$gt": after}}, {"memory_log_id": {"$lte": until}}]
    }

    def read(collection: "Collection") -> dict[str, Metadata]:
        found: dict[str, Metadata] = {}
        place = 0
        while page := _by_id(collection.get(where=between, limit=PAGE, offset=place, include=_included())):
            found |= page
            place += len(page)
        return found

    return with_collection(generation, read)


def _included() -> list[Any]:
    return ["metadatas"] if settings.CHROMA_STORE_DOCUMENTS else ["metadatas", "documents"]


def _by_id(found: Any) -> dict[str, Metadata]:
    texts = found["documents"] or [""] * len(found["ids"])
    return {
        id: {**(metadata or {}), **({"document": text} if text else {})}
        for id, metadata, text in zip(found["ids"], found["metadatas"] or (), texts, strict=True)
    }
