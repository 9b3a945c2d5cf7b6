"""Making the index equal to PostgreSQL: write the memories that it has, and delete those that it does not have.

Everything here converges. It reads the row as it is now, whatever the event said, and reads it again after the write.
So a paused worker cannot leave an older version, or a deleted memory, in the index.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import numpy as np
from django.utils import timezone

import outbox
from memories.embeddings import EmbeddingError
from memories.embeddings.backend import Vectors
from memories.event_types import RECHECK_AGGREGATE, RECHECK_SECONDS
from memories.index import generations, orphans, reading, upsert
from memories.index.collections import CollectionLost
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.index.pace import pace
from memories.indexing import tenant_calls
from memories.indexing.derived import embed, is_embedded, mark_indexed, rows_by_id
from memories.indexing.former_keys import former_keys
from memories.models import Generation, MemoryLog
from memories.tenants import Tenant
from outbox import Reject, Unavailable
from outbox.database import prepared
from outbox.exceptions import kind_and_place

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
FormerKeys = Mapping[int, set[str]]

# The versions of the memories, and the collections of their tenants.
NOW = """
SELECT m.id, m.version,
    (SELECT g.id FROM memory_index_generations g
     WHERE g.user_id = m.user_id AND g.project_id = m.project_id AND g.state = 'active'),
    (SELECT g.id FROM memory_index_generations g
     WHERE g.user_id = m.user_id AND g.project_id = m.project_id AND g.state = 'building')
FROM memory_logs m WHERE m.id = ANY(%(ids)s::bigint[])
"""


def index(tenants: Mapping[int, Tenant], *, once: Collection[int] = ()) -> list[MemoryLog]:
    """Make the index hold these memories, given by id and tenant, as PostgreSQL has them.

    Returns the rows that the index now holds. A memory that PostgreSQL does not have is deleted from the index. A row
    whose text changed, and is not embedded again yet, is left to its own event. Of the ids in `once`, those are not
    written again that an earlier attempt has written. Raises Unavailable; what was written until then stays recorded.
    """
    indexed: dict[int, MemoryLog] = {}
    ids = set(tenants)
    while ids:
        found = rows_by_id(ids)
        gone = ids - found.keys()
        forget(_by_tenant((tenants[memory_id], memory_id) for memory_id in gone))
        indexed = {memory_id: row for memory_id, row in indexed.items() if memory_id not in gone}
        live = generations.get_or_create(row.tenant for row in found.values())
        rows = [row for row in found.values() if is_embedded(row, live[row.tenant].write_target)]
        held = _held([row for row in rows if row.id in once], live)
        _write_all([row for row in rows if row.id not in held], live)
        indexed |= {row.id: row for row in rows}
        ids = _overtaken(rows, live)
    return list(indexed.values())


def _held(rows: Sequence[MemoryLog], live: dict[Tenant, generations.Live]) -> set[int]:
    """Return the ids of the rows that the index holds as they are.

    Chroma is asked, because the record on a row is not enough: a filling may have recorded this version before an older
    one was written over it, or may have written it to a collection that was replaced since.
    """
    found: set[int] = set()
    for tenant, its in _by_tenant(
        (row.tenant, row) for row in rows if _is_recorded(row, live[row.tenant])
    ).items():
        held = reading.metadata(live[tenant].write_target, [document_id(row.id, tenant) for row in its])
        found |= {row.id for row in its if held.get(document_id(row.id, tenant)) == metadata_of(row)}
    return found


def _is_recorded(row: MemoryLog, live: generations.Live) -> bool:
    """Tell whether this version was indexed with this vector; not while a new collection is being built."""
    if live.building is not None or row.indexed_at is None or row.embedded_at is None:
        return False
    return row.indexed_version == row.version and row.indexed_at > row.embedded_at


def _write_all(rows: Sequence[MemoryLog], live: dict[Tenant, generations.Live]) -> None:
    """Write the rows in pieces that Chroma takes in time. Raises Unavailable after recording what was written."""
    written: list[MemoryLog] = []
    former = former_keys(rows)
    waiting = {tenant: deque(its) for tenant, its in _by_tenant((row.tenant, row) for row in rows).items()}
    try:
        while waiting:
            pieces = {tenant: _piece(its) for tenant, its in waiting.items()}
            writes = [
                tenant_calls.Call(
                    tenant, [row.id for row in piece], partial(_write, live[tenant], piece, former)
                )
                for tenant, piece in pieces.items()
            ]
            alone = [tenant for tenant in pieces if not _is_one_call(live[tenant])]
            for tenant in tenant_calls.succeeded(writes, guard=rechecked, alone=alone):
                written += pieces[tenant]
            waiting = {tenant: its for tenant, its in waiting.items() if its}
    except Unavailable:
        mark_indexed(written)
        raise


def _piece(rows: deque[MemoryLog]) -> list[MemoryLog]:
    return [rows.popleft() for _ in range(min(len(rows), pace.rows))]


def _is_one_call(live: generations.Live) -> bool:
    """Tell whether a write is one call to Chroma: nothing has to be created, recorded or embedded for it."""
    return live.write_target.chroma_id is not None and live.active in (None, live.write_target)


@contextmanager
def rechecked(tenant: Tenant, memory_ids: Sequence[int]) -> Iterator[None]:
    """Have these memories indexed again later if Chroma does not finish the block's writes of them in time.

    Chroma may carry out a write that nobody waits for any more, over a newer version or after a deletion.
    """
    try:
        yield
    except Unavailable as unavailable:
        if upsert.may_land_late(unavailable):
            publish_rechecks(dict.fromkeys(memory_ids, tenant))
        raise


def publish_rechecks(tenants: Mapping[int, Tenant]) -> None:
    """Have these memories, given by id and tenant, indexed again when Chroma has no write of before left."""
    if tenants:
        outbox.publish_derived(
            None, {}, (_recheck(tenant, memory_id) for memory_id, tenant in tenants.items())
        )


def _recheck(tenant: Tenant, memory_id: int) -> outbox.NewEvent:
    return outbox.NewEvent(
        type="vector.outdated",
        aggregatetype=RECHECK_AGGREGATE,
        aggregateid=memory_id,
        payload={"memory_id": memory_id, **tenant._asdict()},
        priority=outbox.BULK,
        available_at=timezone.now() + timedelta(seconds=RECHECK_SECONDS),
    )


def forget(memory_ids: Mapping[Tenant, Sequence[int]]) -> None:
    """Delete these memories, given by tenant, from all collections of their tenants. Raises Unavailable."""
    live = generations.live(memory_ids)
    deletions = [
        tenant_calls.Call(tenant, its, partial(_delete, live[tenant], its))
        for tenant, its in memory_ids.items()
        if tenant in live
    ]
    deque(tenant_calls.succeeded(deletions, guard=rechecked), maxlen=0)


def _delete(live: generations.Live, memory_ids: Sequence[int]) -> None:
    for generation in live.all:
        with _ignore_loss_if_replaced(generation, live):
            upsert.delete(generation, memory_ids)


def remove_orphans(generation: Generation, documents: Sequence[str]) -> int:
    """Delete documents without a memory; returns their number. Raises CollectionLost, Unavailable."""
    with rechecked(generation.tenant, orphans.memory_ids(documents)):
        upsert.delete_documents(generation, documents)
    return len(documents)


def _write(live: generations.Live, rows: Sequence[MemoryLog], former: FormerKeys) -> None:
    upsert.upsert(live.write_target, rows, np.stack([row.embedding for row in rows]), former=former)
    if live.active is not None and live.active is not live.write_target:
        _write_to_active(live.active, live, rows, former)


def _write_to_active(
    generation: Generation, live: generations.Live, rows: Sequence[MemoryLog], former: FormerKeys
) -> None:
    """Search queries the former model's collection until the new one is complete, so new memories go there too."""
    try:
        vectors = _vectors(rows, generation)
    except (Unavailable, Reject, EmbeddingError) as error:
        # The former provider may never answer again. These memories are then found once the new collection answers.
        what = error if isinstance(error, Unavailable) else kind_and_place(error)
        logger.warning(
            "%s: %d memories are not found until its successor answers: %s", generation, len(rows), what
        )
    else:
        with _ignore_loss_if_replaced(generation, live):
            upsert.upsert(generation, rows, vectors, former=former)


@contextmanager
def _ignore_loss_if_replaced(generation: Generation, live: generations.Live) -> Iterator[None]:
    """Ignore that Chroma lost the active collection, while its successor is being built."""
    try:
        yield
    except CollectionLost:
        if generation is live.write_target:
            raise


def _vectors(rows: Sequence[MemoryLog], generation: Generation) -> Vectors:
    """Return the rows' own embeddings where they are of the generation's model; else embed the rows."""
    if all(is_embedded(row, generation) for row in rows):
        return np.stack([row.embedding for row in rows])
    return embed(rows, generation).vectors


def _overtaken(rows: Sequence[MemoryLog], live: dict[Tenant, generations.Live]) -> set[int]:
    """Return the ids of the rows that were changed or deleted during the write, or whose tenant got another collection.

    The process that fills that collection may already be past these rows.
    """
    if not rows:
        return set()
    now = set(prepared.rows(NOW, {"ids": [row.id for row in rows]}))
    return {row.id for row in rows if (row.id, row.version, *_ids(live[row.tenant])) not in now}


def _ids(live: generations.Live) -> tuple[int | None, int | None]:
    return (live.active.pk if live.active else None, live.building.pk if live.building else None)


def _by_tenant(items: Iterable[tuple[Tenant, Item]]) -> dict[Tenant, list[Item]]:
    tenants: dict[Tenant, list[Item]] = defaultdict(list)
    for tenant, item in items:
        tenants[tenant].append(item)
    return tenants
