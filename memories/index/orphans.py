"""Orphans: documents in the index without a memory in PostgreSQL."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from memories.index.collections import with_collection
from memories.index.ids import document_id, memory_id
from memories.models import Generation, MemoryLog

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

PAGE = 5_000


def find(generation: Generation) -> list[str]:
    """Return the ids of the documents without a memory of the tenant. Raises CollectionLost, Unavailable.

    The index is read before PostgreSQL, so a memory that is stored meanwhile is not taken for an orphan.
    """
    if generation.chroma_id is None:
        return []
    # Read all pages before removing anything: removing a document moves the pages behind it.
    return [found for _, part in find_from(generation, 0) for found in part]


def find_from(generation: Generation, start: int) -> Iterator[tuple[int | None, list[str]]]:
    """The orphans of each page of documents from the `start`-th on, with the start of the page after it.

    That is None after the last page. Raises CollectionLost, Unavailable.
    """
    following: int | None = start
    while following is not None:
        page = _page(generation, following)
        following = following + PAGE if len(page) == PAGE else None
        yield following, unknown(generation, page)


def unknown(generation: Generation, documents: list[str]) -> list[str]:
    """Return those of `documents` that have no memory of the tenant in PostgreSQL."""
    tenant = generation.tenant
    rows = MemoryLog.objects.filter(id__in=memory_ids(documents), **tenant._asdict()).values_list(
        "id", flat=True
    )
    known = {document_id(number, tenant) for number in rows}
    return [document for document in documents if document not in known]


def memory_ids(documents: Iterable[str]) -> list[int]:
    """Return the memories' ids in the documents' ids; a document with an id of another form is left out."""
    return [number for document in documents if (number := memory_id(document)) is not None]


def _page(generation: Generation, start: int) -> list[str]:
    def read(collection: "Collection") -> list[str]:
        return list(collection.get(limit=PAGE, offset=start, include=[])["ids"])

    return with_collection(generation, read)
