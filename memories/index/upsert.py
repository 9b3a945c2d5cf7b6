"""Writing to the index. A write always contains the whole row, never a part of it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
from django.conf import settings
from opentelemetry.trace import SpanKind

from memories import metrics
from memories.embeddings.backend import Vectors
from memories.index import capacity, quotas
from memories.index.client import DEPENDENCY
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.index.pace import MOST_ROWS, pace
from memories.models import Generation, MemoryLog
from memories.text import searchable_text
from outbox import Reject, Unavailable

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

# Chroma accepts at most 5,461 rows and 40 MB in a call.
MAX_ROWS = MOST_ROWS
MAX_BYTES = 20_000_000
# Chroma's message for a document whose vector is gone.
LOST_VECTOR_MESSAGE = "Error finding id"
READ_BACKS = 3
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
GATEWAY_ERRORS = (httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT)
# A float32 in base64.
BYTES_A_NUMBER = 16 / 3


logger = logging.getLogger(__name__)


class DocumentsRefused(Reject):
    """Chroma refuses these documents. It accepted all other documents of the same call."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        # By memory id.
        self.reasons = reasons
        super().__init__("; ".join(reasons.values()))


class Entry(NamedTuple):
    """What the index holds of a memory, without its vector."""

    memory_id: int
    id: str
    document: str
    metadata: dict[str, Any]
    # Keys of metadata that the index may hold of a former version; None: the index has to be asked.
    former: AbstractSet[str] | None


def upsert(
    generation: Generation,
    rows: Sequence[MemoryLog],
    vectors: Vectors,
    *,
    former: Mapping[int, AbstractSet[str]] | None = None,
    remove_extra: bool = False,
) -> None:
    """Make the collection hold these rows as they are, each with its vector.

    `former`: by memory id, the keys of metadata that the index may hold of former versions. For another changed row the
    index is asked.
    `remove_extra` also removes extra metadata of unchanged rows, which an earlier release may have written.
    Raises DocumentsRefused after all other documents are written; CollectionLost, IndexMismatch, Unavailable.
    """
    reasons: dict[int, str] = {}
    about = {"db.system.name": "chroma", "db.collection.name": generation.collection}
    known = (
        {}
        if remove_extra
        else {row.id: frozenset[str]() for row in rows if row.version == 1} | dict(former or {})
    )
    entries = [_entry(row, former=known.get(row.id)) for row in rows]
    for part in _parts(entries, generation.dimensions):
        with (
            metrics.tracer.start_as_current_span("index upsert", kind=SpanKind.CLIENT, attributes=about),
            metrics.upsert_seconds.time(),
        ):
            reasons |= _write_part(generation, entries[part], vectors[part])
    metrics.upserted_vectors.inc(len(rows) - len(reasons))
    if reasons:
        raise DocumentsRefused(reasons)


def delete(generation: Generation, memory_ids: Sequence[int]) -> None:
    """Delete these memories from the collection. Raises CollectionLost, Unavailable."""
    delete_documents(generation, [document_id(memory_id, generation.tenant) for memory_id in memory_ids])


def delete_documents(generation: Generation, ids: Sequence[str]) -> None:
    """Delete documents by their ids in the index. Raises CollectionLost, Unavailable."""
    if generation.chroma_id is None:
        return  # nothing was written yet
    for start in range(0, len(ids), MAX_ROWS):
        remove = partial(_remove, ids=ids[start : start + MAX_ROWS])
        with_collection(generation, remove)


def _remove(collection: "Collection", ids: Sequence[str]) -> None:
    collection.delete(ids=list(ids))


def _entry(row: MemoryLog, *, former: AbstractSet[str] | None) -> Entry:
    # An empty document, not none: an upsert without documents keeps the ones that Chroma has.
    document = ""
    if settings.CHROMA_STORE_DOCUMENTS:
        text = searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
        document = quotas.cut_to_bytes(text, quotas.current().document_bytes)
    return Entry(row.id, document_id(row.id, row.tenant), document, metadata_of(row), former)


def _parts(entries: Sequence[Entry], dimensions: int) -> Iterator[slice]:
    start, size = 0, 0.0
    for end, entry in enumerate(entries):
        entry_size = _size(entry) + dimensions * BYTES_A_NUMBER
        if end > start and (end - start >= pace.rows or size + entry_size > MAX_BYTES):
            yield slice(start, end)
            start, size = end, 0.0
        size += entry_size
    if entries:
        yield slice(start, len(entries))


def _size(entry: Entry) -> int:
    try:
        return len(orjson.dumps((entry.id, entry.document, entry.metadata)))
    except TypeError:
        return MAX_BYTES  # JSON cannot hold it. Chroma will refuse it, in a call of its own


def _write_part(generation: Generation, entries: Sequence[Entry], vectors: Vectors) -> dict[int, str]:
    """Write the entries; on a refusal, write each half alone. Returns the refused memories with the reasons."""
    started = time.monotonic()
    try:
        with_collection(generation, partial(_write, entries=entries, vectors=vectors), create=True)
    except Exception as error:
        if is_timeout(error):
            pace.timed_out(len(entries))
        if not _is_refusal(error):
            raise
        if len(entries) == 1:
            return {entries[0].memory_id: f"Chroma refuses memory {entries[0].memory_id}: {error}"}
        half = len(entries) // 2
        return _write_part(generation, entries[:half], vectors[:half]) | _write_part(
            generation, entries[half:], vectors[half:]
        )
    pace.answered(time.monotonic() - started, settings.CHROMA_TIMEOUT_SECONDS)
    return {}


def is_timeout(error: Exception) -> bool:
    """Tell whether Chroma did not answer in time."""
    return isinstance(error.__cause__, httpx.TimeoutException)


def may_land_late(error: Exception) -> bool:
    """Tell whether Chroma may have got the write without an answer, and so may carry it out later.

    A write that found no connection never reached it. A gateway answers before the server has.
    """
    cause = error.__cause__
    if isinstance(cause, httpx.TransportError):
        return not isinstance(cause, NOT_SENT)
    gateway = cause and (cause.__cause__ or cause.__context__)
    return isinstance(gateway, httpx.HTTPStatusError) and gateway.response.status_code in GATEWAY_ERRORS


def _is_refusal(error: Exception) -> bool:
    """Tell whether the documents are at fault: chromadb's own checks fail, or the server's."""
    from chromadb.errors import ChromaError

    if isinstance(error, ChromaError):
        return error.code() in (400, 413, 422)
    return isinstance(error, TypeError | ValueError) or "Payload too large" in str(error)


def _write(collection: "Collection", *, entries: Sequence[Entry], vectors: Vectors) -> None:
    # Only a changed row can have left extra keys in the index, unless the release changed what a key holds.
    held = _read_metadata(collection, [entry.id for entry in entries if entry.former is None])
    removed = {
        entry.id: (held.get(entry.id, {}).keys() if entry.former is None else entry.former)
        - entry.metadata.keys()
        for entry in entries
    }
    if any(len(removed.get(entry.id, ())) + len(entry.metadata) > quotas.current().keys for entry in entries):
        _remove_keys(collection, removed)
        removed = {}
    collection.upsert(
        ids=[entry.id for entry in entries],
        embeddings=vectors,
        documents=[entry.document for entry in entries],
        # upsert merges metadata: a key that the row no longer has is removed only by setting it to None.
        metadatas=[dict.fromkeys(removed.get(entry.id, ())) | entry.metadata for entry in entries],
    )
    if capacity.is_exceeded():
        _read_back(collection, entries, vectors)


def _remove_keys(collection: "Collection", removed: Mapping[str, AbstractSet[str]]) -> None:
    """Remove keys in a call of its own, where they and the new ones would be more than a call may name."""
    with_keys = {id: keys for id, keys in removed.items() if keys}
    collection.update(ids=list(with_keys), metadatas=[dict.fromkeys(keys) for keys in with_keys.values()])


def _read_back(collection: "Collection", entries: Sequence[Entry], vectors: Vectors) -> None:
    """Write vectors again that Chroma lost while it closed the collection. Raises Unavailable if that fails, too."""
    for _ in range(READ_BACKS):
        lost = [place for place, entry in enumerate(entries) if not _has_vector(collection, entry.id)]
        if not lost:
            return
        logger.warning("%s lost %d vectors of a write; writing them again", collection.name, len(lost))
        collection.upsert(
            ids=[entries[place].id for place in lost],
            embeddings=vectors[lost],
            documents=[entries[place].document for place in lost],
            metadatas=[entries[place].metadata for place in lost],
        )
    raise Unavailable(DEPENDENCY, f"{collection.name} loses what is written to it")


def _has_vector(collection: "Collection", id: str) -> bool:
    from chromadb.errors import InternalError

    try:
        found = collection.get(ids=[id], include=["embeddings"])["embeddings"]
    except InternalError as error:
        if LOST_VECTOR_MESSAGE in str(error):
            return False
        raise
    return found is not None and len(found) == 1


def _read_metadata(collection: "Collection", ids: list[str]) -> dict[str, Mapping[str, Any]]:
    """Return the metadata that the index holds, by document id."""
    if not ids:
        return {}
    found = collection.get(ids=ids, include=["metadatas"])
    return {id: metadata or {} for id, metadata in zip(found["ids"], found["metadatas"] or (), strict=True)}
