"""Filling a tenant's collection from PostgreSQL: after a loss, for a new model, or because a person asked.

Goes through the tenant's memories in the order of their ids and keeps its position on the generation, so that it
can be stopped at any moment and goes on from there. Writers need not stop: what changes behind the position has
events of its own, which are written to every collection of the tenant, and each batch is looked at again after it
was written, as in `memories.indexing.sync`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from django.db import connection, transaction
from django.db.models import F, Func, IntegerField

import outbox
from memories.index import generations, orphans, upsert
from memories.index.collections import CollectionDamaged, CollectionLost, check_collection
from memories.indexing import sync
from memories.models import Generation, MemoryLog
from outbox import Reject

logger = logging.getLogger(__name__)

# A batch is as many rows, or as many bytes of raw_data, whichever is reached first: memory stays bounded.
BATCH_ROWS = 1_000
BATCH_BYTES = 16_000_000
# Embeddings are kept after so many: what a provider was paid for is not lost when we are stopped.
EMBEDDED_AT_ONCE = 200
# Two collections are written at once while a third batch is read: more wins nothing, Chroma is the limit.
WRITERS = 2
# Times are slow to parse, and the index has none.
UNREAD = ("idempotency_key", "embedded_at", "indexed_at", "created_at", "updated_at")
# How long an event's share takes; well below a task's timeout, embedding a last batch included.
SHARE_SECONDS = 10.0


@dataclass
class FillProgress:
    """What was done so far; `advance` is told how many memories each batch had."""

    memories: int = 0
    embedded: int = 0
    # Documents that PostgreSQL knows nothing of.
    removed: int = 0
    advance: Callable[[int], object] = lambda count: None


class Batch(NamedTuple):
    """Memories of one generation after `start` up to `end`; without rows it tells that these were all."""

    generation: Generation
    start: int
    end: int
    rows: list[MemoryLog]
    # Whether the collection may hold more than what is written.
    remove_extra: bool


def refill(lost: CollectionLost) -> None:
    """Have the cluster fill a collection that Chroma lost, or the successor of a damaged one."""
    with transaction.atomic():
        if isinstance(lost, CollectionDamaged):
            to_fill = generations.replace(lost.generation)
        else:
            to_fill = lost.generation if generations.restart_build(lost.generation) else None
        if to_fill is not None:
            publish_fill(to_fill)


def publish_fill(generation: Generation) -> None:
    """Have the cluster go on with filling it, from its position, behind everything that a person waits for."""
    outbox.publish(
        "index.fill",
        aggregate=(generations.AGGREGATE, generation.pk),
        payload={
            "generation_id": generation.pk,
            "collection": generation.collection,
        },
        priority=outbox.BULK,
    )


def go_on(generation: Generation) -> None:
    """An event's share of filling it; publishes the next one unless it is done. Raises as `fill` does."""
    if _is_to_be_filled(generation):
        fill([generation], seconds=SHARE_SECONDS, batch_rows=EMBEDDED_AT_ONCE)
        generation.refresh_from_db()
    if _is_to_be_filled(generation):
        with transaction.atomic():
            publish_fill(generation)


def _is_to_be_filled(generation: Generation) -> bool:
    return generation.position is not None and generation.state != Generation.State.RETIRED


def fill(
    filled: Iterable[Generation],
    *,
    remove_extra: bool = False,
    seconds: float = float("inf"),
    batch_rows: int = BATCH_ROWS,
    tally: FillProgress | None = None,
) -> None:
    """Fill these collections from their positions on; one that is complete answers from then on.

    Stops after `seconds`. `remove_extra` is for collections that hold rows already, and spared those that hold none:
    metadata of an earlier release is taken away, too, and at the end what PostgreSQL does not have. Stored embeddings
    are used; what has none of the collection's model is embedded. Raises Unavailable, CollectionLost, IndexMismatch.
    """
    deadline = time.monotonic() + seconds
    tally = tally or FillProgress()
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="fill") as writers:
        written: deque[tuple[Batch, Future[None]]] = deque()
        for generation in filled:
            held_something = _open(generation)
            for batch in _batches(generation, batch_rows, tally, remove_extra and held_something):
                written.append((batch, writers.submit(copy_context().run, _write, batch)))
                if len(written) > WRITERS:
                    _settle(*written.popleft(), tally)
                if time.monotonic() > deadline:
                    break
            if time.monotonic() > deadline:
                break
        while written:
            _settle(*written.popleft(), tally)


def _open(generation: Generation) -> bool:
    """Make its collection if there is none, also where there once was one. Returns whether it holds anything."""
    try:
        return check_collection(generation, create=True)
    except CollectionDamaged:
        raise
    except CollectionLost:
        if not generations.restart_build(generation):
            raise
        generation.refresh_from_db()
        return check_collection(generation, create=True)


def _batches(generation: Generation, size: int, tally: FillProgress, remove_extra: bool) -> Iterator[Batch]:
    start = generation.position or 0
    while ids := _next_ids(generation, start, size):
        rows = list(MemoryLog.objects.filter(id__in=ids).defer(*UNREAD).order_by("id"))
        yield Batch(generation, start, ids[-1], _embedded(rows, generation, tally), remove_extra)
        start = ids[-1]
    yield Batch(generation, start, start, [], remove_extra)


def _next_ids(generation: Generation, after: int, most: int) -> list[int]:
    sizes = (
        MemoryLog.objects.filter(**generation.tenant._asdict(), id__gt=after)
        .order_by("id")
        .values_list("id", Func(F("raw_data"), function="pg_column_size", output_field=IntegerField()))
    )
    ids: list[int] = []
    total = 0
    for memory_id, size in sizes[:most]:
        total += size
        if ids and total > BATCH_BYTES:
            break
        ids.append(memory_id)
    return ids


def _embedded(rows: list[MemoryLog], generation: Generation, tally: FillProgress) -> list[MemoryLog]:
    """The rows with their embeddings, made and stored where they were missing; what cannot be embedded is left out."""
    missing = [row for row in rows if not sync.is_embedded(row, generation)]
    for start in range(0, len(missing), EMBEDDED_AT_ONCE):
        tally.embedded += embed(missing[start : start + EMBEDDED_AT_ONCE], generation)
    return [row for row in rows if sync.is_embedded(row, generation)]


def embed(
    rows: Sequence[MemoryLog], generation: Generation, stored: Callable[[], object] = lambda: None
) -> int:
    """Embed and store; returns how many. `stored` is called in the same transaction.

    A text that can never be embedded is passed over. Raises Unavailable.
    """
    try:
        embedded = sync.embed(rows, generation)
    except Reject as reject:
        if len(rows) == 1:
            logger.warning("memory %d cannot be embedded: %s", rows[0].id, reject)
            return 0
        half = len(rows) // 2
        return embed(rows[:half], generation, stored) + embed(rows[half:], generation, stored)
    with sync.derived_write():
        sync.store(embedded)
        stored()
    for row, vector in zip(rows, embedded.vectors, strict=True):
        row.embedding, row.embedding_model, row.embedded_hash = vector, embedded.model, row.content_hash
    return len(rows)


def _write(batch: Batch) -> None:
    try:
        if batch.rows:
            vectors = np.stack([row.embedding for row in batch.rows])
            upsert.upsert(batch.generation, batch.rows, vectors, remove_extra=batch.remove_extra)
    finally:
        connection.close()  # this thread's own, should it have needed one


def _settle(batch: Batch, written: "Future[None]", tally: FillProgress) -> None:
    """Look again at what was written, and note that it was."""
    written.result()
    generation, start, end, rows, remove_extra = batch
    if end > start:
        _correct(generation, rows)
        # Only from where this batch began: somebody else may have begun anew meanwhile.
        at_start = Generation.objects.filter(pk=generation.pk, position=start)
        at_start.update(position=end)
        tally.memories += len(rows)
        tally.advance(len(rows))
    else:
        if remove_extra:
            tally.removed += orphans.remove(generation)
        _complete(generation, end)


def _correct(generation: Generation, rows: Sequence[MemoryLog]) -> None:
    """What changed while it was written is written again; what was deleted goes."""
    now = dict(MemoryLog.objects.filter(id__in=[r.id for r in rows]).values_list("id", "version"))
    upsert.delete(generation, [row.id for row in rows if row.id not in now])
    sync.index({r.id: r.tenant for r in rows if now.get(r.id, r.version) != r.version})
    unmarked = [r for r in rows if now.get(r.id) == r.version and r.indexed_version != r.version]
    if unmarked:
        with sync.derived_write():
            sync.mark_indexed(unmarked)


def _complete(generation: Generation, end: int) -> None:
    at_end = Generation.objects.filter(pk=generation.pk, position=end)
    if at_end.filter(state=Generation.State.BUILDING).exists():
        generations.activate(generation)
    else:
        at_end.update(position=None, rebuild=False)
