"""Writes of memories. Each changes rows and publishes their events in one transaction."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from psycopg.types.json import Jsonb

import outbox
from memories.event_types import AGGREGATE
from memories.models import MemoryLog, MemoryVersion, StatementTime
from memories.records import bulk_insert, idempotency
from memories.records.constraints import violates
from memories.records.group_commit import GroupCommit
from memories.records.size import json_bytes
from memories.records.sync_status import set_changed, set_sync_status
from memories.text import searchable_text, text_hash
from outbox.publishing import headers


@dataclass(frozen=True, kw_only=True)
class NewMemory:
    """A memory as a client describes it."""

    user_id: str
    project_id: str
    task: str
    agent: str
    # None: today.
    date: Date | None = None
    raw_data: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    # The client's own id of the memory, unique within the tenant.
    external_id: str | None = None
    # The memory that this one repeats, for the reader.
    similar_to: int | None = None
    # None: after MEMORY_TTL_DAYS, or never without that setting.
    expires_at: datetime | None = None


# What a client may change. The tenant stays: the index entry and the history belong to it.
CHANGEABLE = frozenset({"task", "agent", "date", "raw_data", "expires_at"})


Memories = QuerySet[MemoryLog, Any]
# New values of fields, or a function that gives them for a row.
Changes = Mapping[str, Any] | Callable[[MemoryLog], Mapping[str, Any]]
# Here the version of the row is the locked one. The time is the statement's: the transaction may have begun before the
# version that it waited for.
UPDATE = """
UPDATE memory_logs SET {columns}, updated_at = statement_timestamp() WHERE id = %s RETURNING id, updated_at
"""
DELETE = "DELETE FROM memory_logs WHERE id = ANY(%s::bigint[]) RETURNING id"
# What an event tells of a memory.
TENANT = ("user_id", "project_id")
CONTENT = ("task", "agent", "date", "raw_data")


class VersionConflict(Exception):
    """The memory is not at the version that the caller expected. `current` is None when it does not exist."""

    def __init__(self, current: int | None) -> None:
        self.current = current
        super().__init__(
            "The memory does not exist." if current is None else f"The memory is at version {current}."
        )


class ExternalIdTaken(Exception):
    """The tenant has another memory with this external id."""

    def __init__(self, external_id: str) -> None:
        super().__init__(f"A memory with the external_id {external_id!r} exists.")


# A memory with more bytes gets a statement of its own, so that no other create waits for it.
GROUPED_BYTES = 64 * 1024


class Insert(NamedTuple):
    """The fields of a row to insert, and the headers that its event carries from the request."""

    row: dict[str, Any]
    headers: Mapping[str, str]


def create_memory(new: NewMemory) -> MemoryLog:
    """Store a memory and its `memory_log.stored` event.

    Outside a transaction, small memories that arrive at the same time share one statement. Raises ExternalIdTaken;
    IntegrityError for an Idempotency-Key that is already stored.
    """
    insert = prepare(new)
    try:
        return _create(insert)
    except IntegrityError as error:
        if not violates(error, MemoryLog.ONE_AN_EXTERNAL_ID):
            raise
        if not _delete_expired(new):
            raise ExternalIdTaken(str(new.external_id)) from error
    return _create(insert)


def _create(insert: Insert) -> MemoryLog:
    if connection.in_atomic_block or json_bytes(insert.row["raw_data"]) > GROUPED_BYTES:
        return insert_rows([insert], outbox.INTERACTIVE)[0]
    return insert_grouped(insert)


def _delete_expired(new: NewMemory) -> int:
    """Delete the expired memory that has the external id still: until the schedule deletes it, nobody sees it."""
    with transaction.atomic():
        rows = MemoryLog.objects.with_external_id(new.user_id, new.project_id, [new.external_id])
        expired = rows.filter(expires_at__lte=StatementTime()).select_for_update().defer("embedding")
        return delete_rows(list(expired), outbox.INTERACTIVE)


def create_memories(new: Iterable[NewMemory], *, priority: int = outbox.BULK) -> list[MemoryLog]:
    """Store many memories and their events in one statement: all of them, or none."""
    return insert_rows([prepare(memory) for memory in new], priority)


def prepare(new: NewMemory) -> Insert:
    """Compute the row of a memory. A request reads the text on its own thread, before it joins a group."""
    text = searchable_text(task=new.task, agent=new.agent, raw_data=new.raw_data)
    computed = {
        "date": new.date or timezone.now().date(),
        "expires_at": _expiry(new),
        "content_hash": text_hash(text),
    }
    return Insert({**vars(new), **computed}, headers.current())


def insert_rows(inserts: Sequence[Insert], priority: int) -> list[MemoryLog]:
    """Insert rows and their events in one statement. Raises IntegrityError."""
    events = (_stored_event(insert, priority) for insert in inserts)
    # A single statement needs no transaction. Inside one, a savepoint keeps an error from ending it.
    with transaction.atomic() if connection.in_atomic_block else nullcontext():
        return bulk_insert.insert((insert.row for insert in inserts), events)


insert_grouped = GroupCommit[Insert, MemoryLog](partial(insert_rows, priority=outbox.INTERACTIVE))


def update_memory(
    memory_id: int, changes: Changes, *, expected_version: int | None = None, among: Memories | None = None
) -> MemoryLog:
    """Change fields of a memory, increase its version and publish `memory_log.updated`.

    `changes` are values of CHANGEABLE fields, or a function that gives them for the locked row. Values equal to the
    stored ones make no version and no event. `among`: the rows that the caller may change; without it, all.
    Returns the memory with its sync status. Raises MemoryLog.DoesNotExist; VersionConflict when `expected_version` is
    given and is not the current one; ValueError for another field.
    """
    with transaction.atomic():
        row = _lock(memory_id, expected_version, among)
        given = changes(row) if callable(changes) else changes
        if not given.keys() <= CHANGEABLE:
            raise ValueError(f"Not changeable: {', '.join(sorted(given.keys() - CHANGEABLE))}")
        changed = {name: value for name, value in given.items() if not is_equal(getattr(row, name), value)}
        if changed:
            set_changes(row, changed)
            event = change_event("memory_log.updated", row, outbox.INTERACTIVE)
            [(_, row.updated_at)] = outbox.publish_with(*_update(row, changed), [event], key="memory_log_id")
            return set_changed(row)
    return set_sync_status(row)


def _update(row: MemoryLog, changed: Iterable[str]) -> tuple[str, list[Any]]:
    """The statement that saves changed fields, with its parameters. A long raw_data that did not change is not sent."""
    names = [*changed, "version", "content_hash"]
    values = [Jsonb(row.raw_data) if name == "raw_data" else getattr(row, name) for name in names]
    columns = ", ".join(f"{name} = %s" for name in names)
    return UPDATE.format(columns=columns), [*values, row.id]


def replace_raw_data(changed: Mapping[MemoryLog, dict[str, Any]], *, priority: int = outbox.BULK) -> None:
    """Replace the raw_data of many memories: a new version and a `memory_log.updated` event for each.

    The caller has locked the rows.
    """
    for row, raw_data in changed.items():
        set_changes(row, {"raw_data": raw_data})
    fields = ["raw_data", "version", "content_hash", "updated_at"]
    with transaction.atomic():
        MemoryLog.objects.bulk_update(list(changed), fields)
        outbox.publish_many(change_event("memory_log.updated", row, priority) for row in changed)


def delete_memory(
    memory_id: int, *, expected_version: int | None = None, among: Memories | None = None
) -> None:
    """Delete a memory and publish `memory_log.deleted`.

    The answers under Idempotency-Keys that hold it go as well. Its versions stay for HISTORY_RETENTION_DAYS.
    `among`: the rows that the caller may delete; without it, all.

    Raises MemoryLog.DoesNotExist; VersionConflict when `expected_version` is given and is not the current one.
    """
    with transaction.atomic():
        delete_rows([_lock(memory_id, expected_version, among)], outbox.INTERACTIVE)


def delete_memories(memory_ids: Sequence[int], *, priority: int = outbox.BULK) -> int:
    """Delete many memories as `delete_memory` does; returns how many there were."""
    with transaction.atomic():
        rows = MemoryLog.objects.select_for_update().defer("embedding").order_by("id")
        return delete_rows(list(rows.filter(id__in=memory_ids)), priority)


def delete_rows(rows: Sequence[MemoryLog], priority: int) -> int:
    """Delete rows that the caller has locked, and publish their events. Returns how many."""
    rows = sorted(rows, key=attrgetter("id"))
    if not rows:
        return 0
    ids = [row.id for row in rows]
    idempotency.forget(ids)
    events = [change_event("memory_log.deleted", row, priority) for row in rows]
    outbox.publish_with(DELETE, [ids], events, key="memory_log_id")
    if settings.HISTORY_RETENTION_DAYS == 0:
        MemoryVersion.objects.filter(pgh_obj_id__in=ids)._raw_delete("default")  # noqa: SLF001 - nothing cascades
    return len(rows)


def _lock(memory_id: int, expected_version: int | None, among: Memories | None) -> MemoryLog:
    rows = MemoryLog.objects.all() if among is None else among
    row: MemoryLog = rows.select_for_update(no_key=True).defer("embedding").get(id=memory_id)
    if expected_version not in (None, row.version):
        raise VersionConflict(row.version)
    return row


def set_changes(row: MemoryLog, changes: Mapping[str, Any]) -> None:
    """Set fields of a row, and what follows from them: version, content_hash, updated_at. The caller saves it."""
    for name, value in changes.items():
        setattr(row, name, value)
    row.version += 1
    row.content_hash = text_hash(searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data))
    # The time of the statement: the transaction may have begun before the version that it waited for.
    row.updated_at = StatementTime()


def is_equal(one: object, other: object) -> bool:
    """Whether two values are stored alike. In Python 1 equals True, in JSON it does not."""
    if isinstance(one, dict):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return one == other


def _expiry(new: NewMemory) -> datetime | None:
    if new.expires_at or not settings.MEMORY_TTL_DAYS:
        return new.expires_at
    return timezone.now() + timedelta(days=settings.MEMORY_TTL_DAYS)


def _stored_event(insert: Insert, priority: int) -> outbox.RowEvent:
    """The event of a new memory. `publish_with` adds the memory's id to it."""
    return outbox.RowEvent(
        type="memory_log.stored",
        aggregatetype=AGGREGATE,
        payload={"version": insert.row.get("version", 1)} | _payload(insert.row, (*TENANT, *CONTENT)),
        headers=insert.headers,
        priority=priority,
    )


def change_event(type: str, row: MemoryLog, priority: int) -> outbox.NewEvent:
    """The event of a changed or deleted memory. That of a deleted one has no content."""
    names = TENANT if type == "memory_log.deleted" else (*TENANT, *CONTENT)
    payload = {"memory_log_id": row.id, "version": row.version}
    return outbox.NewEvent(
        type=type,
        aggregatetype=AGGREGATE,
        aggregateid=row.id,
        payload=payload | _payload({name: getattr(row, name) for name in names}, names),
        priority=priority,
    )


def _payload(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name].isoformat() if name == "date" else row[name] for name in names}
