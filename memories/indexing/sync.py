"""Making the index equal to PostgreSQL: embed memories without an embedding, index memories without a vector.

Everything here converges. It reads the row as it is now, whatever the event said, and reads it again after the write.
So a paused worker cannot leave an older version, or a deleted memory, in the index.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from django.db import connection, transaction
from django.utils import timezone

import outbox
from memories import metrics
from memories.embeddings import EmbeddingError, embed_documents, is_truncated
from memories.embeddings.backend import Vectors
from memories.event_types import RECHECK_AGGREGATE, RECHECK_SECONDS
from memories.index import generations, orphans, reading, upsert
from memories.index.collections import CollectionLost
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.index.pace import pace
from memories.indexing import tenant_calls
from memories.indexing.former_keys import former_keys
from memories.models import Generation, MemoryLog
from memories.tenants import Tenant
from memories.text import searchable_text
from outbox import Reject, Unavailable
from outbox.database import prepared
from outbox.database.async_commit import own_transaction

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
FormerKeys = Mapping[int, set[str]]

# Rows are locked in the order of their ids, so that an embedder and an indexer do not deadlock. An embedding of a text
# that has changed meanwhile is not stored: the change has its own event.
STORE_EMBEDDINGS = """
WITH given AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(hashes)s::text[], %(vectors)s::text[]) AS g (id, hash, vector)
), locked AS (
    SELECT m.id FROM memory_logs m WHERE m.id = ANY(%(ids)s) ORDER BY m.id FOR NO KEY UPDATE
)
UPDATE memory_logs m
SET embedding = g.vector::vector, embedded_hash = g.hash, embedding_model = %(model)s, embedded_at = now()
FROM given g JOIN locked USING (id)
WHERE m.id = g.id AND m.content_hash = g.hash
RETURNING m.id
"""
BY_ID = "SELECT {columns} FROM memory_logs WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id"
# The versions of the memories, and the collections of their tenants.
NOW = """
SELECT m.id, m.version,
    (SELECT g.id FROM memory_index_generations g
     WHERE g.user_id = m.user_id AND g.project_id = m.project_id AND g.state = 'active'),
    (SELECT g.id FROM memory_index_generations g
     WHERE g.user_id = m.user_id AND g.project_id = m.project_id AND g.state = 'building')
FROM memory_logs m WHERE m.id = ANY(%(ids)s::bigint[])
"""

MARK_INDEXED = """
WITH given AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(versions)s::int[]) AS g (id, version)
), locked AS (
    SELECT m.id FROM memory_logs m WHERE m.id = ANY(%(ids)s) ORDER BY m.id FOR NO KEY UPDATE
)
UPDATE memory_logs m SET indexed_version = g.version, indexed_at = now()
FROM given g JOIN locked USING (id)
WHERE m.id = g.id AND m.version = g.version
RETURNING m.id
"""


def rows_by_id(ids: Iterable[int]) -> dict[int, MemoryLog]:
    """Return the memories with these ids that PostgreSQL has, by id, oldest first."""
    return {row.id: row for row in prepared.instances(MemoryLog, BY_ID, {"ids": list(ids)})}


def is_embedded(row: MemoryLog, generation: Generation) -> bool:
    """Tell whether the row's embedding is of its present text and of the generation's model."""
    return (
        row.embedding is not None
        and row.embedded_hash == row.content_hash
        and row.embedding_model == generation.model
        and len(row.embedding) == generation.dimensions
    )


@contextmanager
def derived_write() -> Iterator[None]:
    """Open a transaction for derived data, which does not wait for the disk.

    A crash of PostgreSQL can lose the last fraction of a second, latest commits first. The event's outcome is recorded
    after this transaction, so it is lost too, and the event is delivered again. Inside a transaction of the caller, the
    data is stored with that transaction, which waits for the disk as before.
    """
    own = own_transaction()
    with transaction.atomic(), connection.cursor() as cursor:
        if own:
            cursor.execute("SET LOCAL synchronous_commit TO off")
        yield


class Embedded(NamedTuple):
    """Rows and the vectors of their texts, before they are stored."""

    rows: Sequence[MemoryLog]
    vectors: Vectors
    model: str
    # Ids of the rows whose text is longer than the model reads.
    truncated: frozenset[int]


def embed(rows: Sequence[MemoryLog], generation: Generation) -> Embedded:
    """Embed the rows' texts by the generation's model. Slow: never call it inside a transaction.

    Raises Unavailable, Reject.
    """
    backend = generations.embedder(generation)
    texts = [text_of(row) for row in rows]
    truncated = (row.id for row, text in zip(rows, texts, strict=True) if is_truncated(text, backend))
    about: dict[str, str | int] = {"embedding.model": generation.model, "embedding.texts": len(texts)}
    with metrics.tracer.start_as_current_span("embed", attributes=about), metrics.embed_seconds.time():
        vectors = embed_documents(texts, backend)
    metrics.embedded_texts.inc(len(texts))
    return Embedded(rows, vectors, generation.model, frozenset(truncated))


def store(embedded: Embedded, events: Iterable[outbox.NewEvent] = ()) -> None:
    """Store each vector on its row, if the row's text is still the one that was embedded; publish the events."""
    rows, vectors, model, _ = embedded
    parameters: dict[str, Any] = {
        "ids": [row.id for row in rows],
        "hashes": [row.content_hash for row in rows],
        "vectors": [orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode() for vector in vectors],
        "model": model,
    }
    outbox.publish_derived(STORE_EMBEDDINGS, parameters, events)


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


def mark_indexed(rows: Sequence[MemoryLog], events: Iterable[outbox.NewEvent] = ()) -> None:
    """Record on the rows the version that the index holds.

    Publishes those events whose aggregate is the memory of a row that is still at that version.
    """
    versions = {"ids": [row.id for row in rows], "versions": [row.version for row in rows]}
    outbox.publish_derived(MARK_INDEXED, versions, events, of_rows=True)


def text_of(row: MemoryLog) -> str:
    """Return the text of the memory that is embedded."""
    return searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)


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
        logger.warning(
            "%s: %d memories are not found until its successor answers: %s", generation, len(rows), error
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
