"""Filling a tenant's collection from PostgreSQL: after a loss, for a new model, or because a person asked for it.

It goes through the tenant's memories in the order of their ids and stores its position on the generation, so it can
be stopped at any moment and continues from there. Writers need not stop: a change behind the position has its own
event, which is written to every collection of the tenant. Each batch is read again after the write, as in
`memories.indexing.sync`.

Only one process moves the position: the last one that took the generation. It records how far it sends before it sends
it. So its successor knows which writes nobody has verified, goes through these memories itself, and has them verified
once more when Chroma has no old write left (see `memories.indexing.unverified`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db import connection, transaction
from django.db.models import F, Func, IntegerField, QuerySet

import outbox
from memories.embeddings import NotFiniteError, WrongCountError
from memories.index import fillings, generations, orphans, upsert
from memories.index.collections import CollectionDamaged, CollectionLost, check_collection, with_collection
from memories.indexing import derived, isolation, sync
from memories.models import Generation, MemoryLog
from outbox import Reject
from outbox.exceptions import kind_and_place

logger = logging.getLogger(__name__)

# A batch ends at this many rows or bytes of raw_data, whichever comes first. This bounds the memory in use.
BATCH_ROWS = 1_000
BATCH_BYTES = 16_000_000
# Embeddings are stored after this many, so that stopping does not lose what a provider was paid for.
EMBED_BATCH = 200
# Two batches are written at once while a third is read. More gains nothing: Chroma is the limit.
WRITERS = 2
# Not read from PostgreSQL either: a filling writes each row anyway.
DEFERRED = derived.DEFERRED | {"embedded_at", "indexed_at"}
# How long one event fills a collection. With its last batch it stays well below a task's timeout.
SHARE_SECONDS = 10.0


@dataclass
class FillProgress:
    """What was done so far. `advance` is called with the number of memories of each batch."""

    memories: int = 0
    embedded: int = 0
    # Orphaned documents.
    removed: int = 0
    # The memories that cannot be embedded or indexed, with the reasons.
    refused: dict[int, str] = field(default_factory=dict)
    advance: Callable[[int], object] = lambda count: None


class Batch(NamedTuple):
    """Memories of one generation with ids after `start` up to `end`. `end` equal to `start` marks the end."""

    generation: Generation
    token: UUID
    start: int
    end: int
    rows: list[MemoryLog]
    # Whether the collection may hold documents or metadata that PostgreSQL does not have.
    remove_extra: bool


# Batches in their order, each with its write. The end of a collection has none.
Writes = deque[tuple[Batch, "Future[None] | None"]]


def refill(lost: CollectionLost) -> None:
    """Publish the event that fills a lost collection again, or the successor of a damaged one."""
    with transaction.atomic():
        if isinstance(lost, CollectionDamaged):
            to_fill = generations.replace(lost.generation)
        else:
            to_fill = lost.generation if generations.restart_build(lost.generation) else None
        if to_fill is not None:
            publish_fill(to_fill)


def publish_fill(generation: Generation) -> None:
    """Publish the event that fills the generation from its position on, at bulk priority."""
    outbox.publish(
        "index.fill",
        aggregate=(generations.AGGREGATE, generation.pk),
        payload={
            "generation_id": generation.pk,
            "collection": generation.collection,
            **generation.tenant._asdict(),
        },
        priority=outbox.BULK,
    )


def continue_fill(generation: Generation) -> None:
    """Fill the generation for one event's time, and publish the next event unless it is complete.

    Raises as `fill` does.
    """
    if _needs_filling(generation):
        fill([generation], seconds=SHARE_SECONDS, batch_rows=EMBED_BATCH)
        generation.refresh_from_db()
    if _needs_filling(generation):
        with transaction.atomic():
            publish_fill(generation)


def _needs_filling(generation: Generation) -> bool:
    return generation.position is not None and generation.state != Generation.State.RETIRED


def fill(
    targets: Iterable[Generation],
    *,
    remove_extra: bool = False,
    seconds: float = float("inf"),
    batch_rows: int = BATCH_ROWS,
    progress: FillProgress | None = None,
) -> None:
    """Fill these collections from their positions on, and activate each that is complete.

    A collection that another process takes meanwhile is left to that one. Stops after `seconds`. With `remove_extra`,
    a collection that already holds documents also loses extra metadata of an earlier release and, at the end, its
    orphans. Stored embeddings are used. A memory without an embedding of the collection's model is embedded. Raises
    Unavailable, CollectionLost, CollectionUnusable.
    """
    deadline = time.monotonic() + seconds
    progress = progress or FillProgress()
    with (
        fillings.stopped_after_error() as tokens,
        ThreadPoolExecutor(WRITERS, thread_name_prefix="fill") as writers,
    ):
        writes: Writes = deque()
        for generation in targets:
            for batch in _opened(generation, batch_rows, progress, remove_extra):
                tokens.add(batch.token)
                write = writers.submit(copy_context().run, _write, batch) if batch.rows else None
                writes.append((batch, write))
                while _is_next_due(writes):
                    _settle_named(*writes.popleft(), progress)
                if time.monotonic() > deadline:
                    break
            if time.monotonic() > deadline:
                break
        while writes:
            _settle_named(*writes.popleft(), progress)


def _is_next_due(writes: Writes) -> bool:
    """Tell whether the oldest batch is written, or more batches with rows are held than are written at once.

    The end of a collection has no rows: if it counted, the writes of small collections would hardly overlap.
    """
    if not writes:
        return False
    _, oldest = writes[0]
    return oldest is None or oldest.done() or sum(write is not None for _, write in writes) > WRITERS


def _opened(generation: Generation, size: int, progress: FillProgress, remove_extra: bool) -> Iterator[Batch]:
    """The batches of a collection, which is created if it does not exist."""
    with isolation.named(generation):
        was_filled = _open(generation)
        token = fillings.take(generation)
        if token is not None:
            yield from _batches(generation, token, size, progress, remove_extra and was_filled)


def _open(generation: Generation) -> bool:
    """Create the collection if it does not exist, or no longer. Returns whether it may hold documents from before."""
    try:
        return _created_or_checked(generation)
    except CollectionDamaged:
        raise
    except CollectionLost:
        if not generations.restart_build(generation):
            raise
        generation.refresh_from_db()
        return _created_or_checked(generation)


def _created_or_checked(generation: Generation) -> bool:
    if generation.chroma_id is not None:
        return check_collection(generation)
    # There is nothing to check, and a query waits until Chroma has finished the writes to other collections.
    with_collection(generation, lambda collection: None, create=True)
    return False


def _batches(
    generation: Generation, token: UUID, size: int, progress: FillProgress, remove_extra: bool
) -> Iterator[Batch]:
    start = generation.position or 0
    while ids := _next_ids(generation, start, size):
        rows = list(MemoryLog.objects.filter(id__in=ids).defer(*DEFERRED).order_by("id"))
        embedded = _embedded(rows, generation, progress)
        if not _taken(generation, token).update(sent=ids[-1]):
            return  # another process fills it now
        yield Batch(generation, token, start, ids[-1], embedded, remove_extra)
        start = ids[-1]
    yield Batch(generation, token, start, start, [], remove_extra)


def _taken(generation: Generation, token: UUID) -> "QuerySet[Generation]":
    """The generation, while the process that has this token fills it."""
    return Generation.objects.filter(pk=generation.pk, fill_token=token)


def _next_ids(generation: Generation, after: int, limit: int) -> list[int]:
    sizes = (
        MemoryLog.objects.filter(**generation.tenant._asdict(), id__gt=after, id__lte=generation.until)
        .order_by("id")
        .values_list("id", Func(F("raw_data"), function="pg_column_size", output_field=IntegerField()))
    )
    ids: list[int] = []
    total = 0
    for memory_id, size in sizes[:limit]:
        total += size
        if ids and total > BATCH_BYTES:
            break
        ids.append(memory_id)
    return ids


def _embedded(rows: list[MemoryLog], generation: Generation, progress: FillProgress) -> list[MemoryLog]:
    """Return the rows with their embeddings; missing ones are made and stored.

    A row that cannot be embedded is left out.
    """
    missing = [row for row in rows if not derived.is_embedded(row, generation)]
    for start in range(0, len(missing), EMBED_BATCH):
        embed(missing[start : start + EMBED_BATCH], generation, progress)
    return [row for row in rows if derived.is_embedded(row, generation)]


def embed(
    rows: Sequence[MemoryLog],
    generation: Generation,
    progress: FillProgress,
    on_stored: Callable[[], object] = lambda: None,
) -> None:
    """Embed the rows and store the embeddings. `on_stored` is called in the same transaction.

    A memory whose text cannot be embedded is recorded as refused. Raises Unavailable.
    """
    try:
        embedded = derived.embed(rows, generation)
    except (Reject, NotFiniteError, WrongCountError) as error:
        if len(rows) == 1:
            # The reason may quote the memory. It is for the person who asked for this, and not for the log.
            logger.warning("Memory %d cannot be embedded: %s", rows[0].id, kind_and_place(error))
            progress.refused[rows[0].id] = f"Memory {rows[0].id} cannot be embedded: {error}"
            return
        half = len(rows) // 2
        embed(rows[:half], generation, progress, on_stored)
        embed(rows[half:], generation, progress, on_stored)
        return
    with derived.derived_write():
        derived.store(embedded)
        on_stored()
    for row, vector in zip(rows, embedded.vectors, strict=True):
        row.embedding, row.embedding_model, row.embedded_hash = vector, embedded.model, row.content_hash
    progress.embedded += len(rows)


def _write(batch: Batch) -> None:
    try:
        vectors = np.stack([row.embedding for row in batch.rows])
        upsert.upsert(batch.generation, batch.rows, vectors, remove_extra=batch.remove_extra)
    finally:
        connection.close()  # this thread's own connection, if it opened one


def _settle_named(batch: Batch, write: "Future[None] | None", progress: FillProgress) -> None:
    with isolation.named(batch.generation):
        _settle(batch, write, progress)


def _settle(batch: Batch, write: "Future[None] | None", progress: FillProgress) -> None:
    """Wait for the write, correct what changed during it, and store the new position."""
    generation, token, start, end, rows, remove_extra = batch
    try:
        if write is not None:
            write.result()
    except upsert.DocumentsRefused as error:
        _refuse(error.reasons, progress)
        rows = [row for row in rows if row.id not in error.reasons]
    if end > start:
        _correct(generation, rows, progress)
        _taken(generation, token).update(position=end)
        progress.memories += len(rows)
        progress.advance(len(rows))
    else:
        if remove_extra:
            progress.removed += sync.remove_orphans(generation, orphans.find(generation))
        _complete(generation, token)


def _refuse(reasons: Mapping[int, str], progress: FillProgress) -> None:
    for memory_id in reasons:
        logger.warning("Chroma refuses memory %d", memory_id)
    progress.refused |= reasons


def _correct(generation: Generation, rows: Sequence[MemoryLog], progress: FillProgress) -> None:
    """Write again the rows that changed during the write, and delete those that were deleted."""
    now = dict(MemoryLog.objects.filter(id__in=[r.id for r in rows]).values_list("id", "version"))
    gone = [row.id for row in rows if row.id not in now]
    with sync.rechecked(generation.tenant, gone):
        upsert.delete(generation, gone)
    try:
        sync.index({r.id: r.tenant for r in rows if now.get(r.id, r.version) != r.version})
    except upsert.DocumentsRefused as error:
        _refuse(error.reasons, progress)
    unmarked = [r for r in rows if now.get(r.id) == r.version and r.indexed_version != r.version]
    if unmarked:
        derived.mark_indexed(unmarked)


def _complete(generation: Generation, token: UUID) -> None:
    taken = _taken(generation, token)
    if taken.filter(state=Generation.State.BUILDING).exists():
        generations.activate(generation)
    else:
        taken.update(**fillings.FILLED)
