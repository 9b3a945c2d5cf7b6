"""Writing to the index: always the whole truth of a row, never a part."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from opentelemetry.trace import SpanKind

from memories import metrics
from memories.embeddings.backend import Vectors
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.models import Generation, MemoryLog
from memories.text import searchable_text

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

# Chroma takes at most 5461 rows and 40 MB a call.
MOST_ROWS = 1_000
MOST_BYTES = 20_000_000
# A float32 in base64.
BYTES_A_NUMBER = 16 / 3


class Entry(NamedTuple):
    """What the index holds of a memory, beside its vector."""

    id: str
    document: str
    metadata: dict[str, Any]
    is_changed: bool


def upsert(
    generation: Generation, rows: Sequence[MemoryLog], vectors: Vectors, *, remove_extra: bool = False
) -> None:
    """Make the collection hold these rows as they are, each with its vector.

    `remove_extra` also takes away metadata that rows never changed may have of an earlier release.
    Raises CollectionLost, IndexMismatch, Unavailable.
    """
    about = {"db.system.name": "chroma", "db.collection.name": generation.collection}
    entries = [_entry(row, is_changed=remove_extra or row.version > 1) for row in rows]
    for part in _parts(entries, generation.dimensions):
        with (
            metrics.tracer.start_as_current_span("index upsert", kind=SpanKind.CLIENT, attributes=about),
            metrics.upsert_seconds.time(),
        ):
            with_collection(
                generation, partial(_write, entries=entries[part], vectors=vectors[part]), make=True
            )
    metrics.upserted_vectors.inc(len(rows))


def delete(generation: Generation, memory_ids: Sequence[int]) -> None:
    """Make sure that the collection does not hold these memories. Raises CollectionLost, Unavailable."""
    delete_documents(generation, [document_id(memory_id, generation.tenant) for memory_id in memory_ids])


def delete_documents(generation: Generation, ids: Sequence[str]) -> None:
    """The same by the ids that the index itself has. Raises CollectionLost, Unavailable."""
    if generation.chroma_id is None:
        return  # nothing was written yet
    for start in range(0, len(ids), MOST_ROWS):
        remove = partial(_remove, ids=ids[start : start + MOST_ROWS])
        with_collection(generation, remove)


def _remove(collection: "Collection", ids: Sequence[str]) -> None:
    collection.delete(ids=list(ids))


def _entry(row: MemoryLog, *, is_changed: bool) -> Entry:
    document = searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
    return Entry(document_id(row.id, row.tenant), document, metadata_of(row), is_changed)


def _parts(entries: Sequence[Entry], dimensions: int) -> Iterator[slice]:
    start, size = 0, 0.0
    for end, entry in enumerate(entries):
        entry_size = len(orjson.dumps(entry[:3])) + dimensions * BYTES_A_NUMBER
        if end > start and (end - start == MOST_ROWS or size + entry_size > MOST_BYTES):
            yield slice(start, end)
            start, size = end, 0.0
        size += entry_size
    if entries:
        yield slice(start, len(entries))


def _write(collection: "Collection", *, entries: Sequence[Entry], vectors: Vectors) -> None:
    # Only a row that was changed can have left keys behind, unless what a key holds has changed itself.
    held = _held(collection, [entry.id for entry in entries if entry.is_changed])
    collection.upsert(
        ids=[entry.id for entry in entries],
        embeddings=vectors,
        documents=[entry.document for entry in entries],
        # upsert merges metadata: a key that the row no longer has goes only when it is set to None.
        metadatas=[dict.fromkeys(held.get(entry.id, ())) | entry.metadata for entry in entries],
    )


def _held(collection: "Collection", ids: list[str]) -> dict[str, Mapping[str, Any]]:
    """The metadata that the index holds by now."""
    if not ids:
        return {}
    found = collection.get(ids=ids, include=["metadatas"])
    return {id: metadata or {} for id, metadata in zip(found["ids"], found["metadatas"] or (), strict=True)}
