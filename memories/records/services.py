"""Writes of memories. Each changes rows and publishes their events in one transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

import outbox
from memories.event_types import AGGREGATE
from memories.models import MemoryLog, MemoryVersion, StatementTime
from memories.records import bulk_insert, idempotency
from memories.records.group_commit import GroupCommit
from memories.records.size import json_bytes
from memories.text import searchable_text, text_hash
from outbox.publishing import headers


@dataclass(frozen=True, kw_only=True)
class NewMemory:
    """A memory as a client describes it."""

    user_id: str
    project_id: str
    task: str
    agent: str
    date: Date = field(default_factory=Date.today)
    raw_data: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    # None: after MEMORY_TTL_DAYS, or never without that setting.
    expires_at: datetime | None = None


# What a client may change. The tenant stays: the index entry and the history belong to it.
CHANGEABLE = frozenset({"task", "agent", "date", "raw_data", "expires_at"})


class VersionConflict(Exception):
    """The memory is not at the version that the caller expected."""

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"The memory is at version {current}.")


# A memory with more bytes gets a statement of its own, so that no other create waits for it.
GROUPED_BYTES = 64 * 1024


class Insert(NamedTuple):
    """A memory to insert, the fields of its row, and the headers that its event carries from the request."""

    new: NewMemory
    row: dict[str, Any]
    headers: Mapping[str, str]


def create_memory(new: NewMemory) -> MemoryLog:
    """Store a memory and its `memory_log.stored` event.

    Outside a transaction, small memories that arrive at the same time share one statement. Raises IntegrityError for
    an Idempotency-Key that is already stored.
    """
    insert = _prepare(new)
    if connection.in_atomic_block or json_bytes(new.raw_data) > GROUPED_BYTES:
        return _insert([insert], outbox.INTERACTIVE)[0]
    return insert_grouped(insert)


def create_memories(new: Iterable[NewMemory], *, priority: int = outbox.BULK) -> list[MemoryLog]:
    """Store many memories and their events in one statement: all of them, or none."""
    return _insert([_prepare(memory) for memory in new], priority)


def _prepare(new: NewMemory) -> Insert:
    """Read the memory's text on the thread of its own request, before it joins a group."""
    return Insert(new, _fields(new), headers.current())


def _insert(inserts: Sequence[Insert], priority: int) -> list[MemoryLog]:
    rows = (insert.row for insert in inserts)
    events = (_stored_event(insert.new, insert.headers, priority) for insert in inserts)
    # A single statement needs no transaction. Inside one, a savepoint keeps an error from ending it.
    with transaction.atomic() if connection.in_atomic_block else nullcontext():
        return bulk_insert.insert(rows, events)


insert_grouped = GroupCommit[Insert, MemoryLog](partial(_insert, priority=outbox.INTERACTIVE))


def update_memory(
    memory_id: int, changes: Mapping[str, Any], *, expected_version: int | None = None
) -> MemoryLog:
    """Change fields of a memory, increase its version and publish `memory_log.updated`.

    `changes` may have task, agent, date and raw_data; raw_data is replaced as a whole. Values equal to the stored
    ones make no version and no event. Raises MemoryLog.DoesNotExist; VersionConflict when `expected_version` is
    given and is not the current one; ValueError for another field.
    """
    if not changes.keys() <= CHANGEABLE:
        raise ValueError(f"Not changeable: {', '.join(sorted(changes.keys() - CHANGEABLE))}")
    with transaction.atomic():
        row = _lock(memory_id, expected_version)
        changed = [name for name, value in changes.items() if not _is_equal(getattr(row, name), value)]
        if changed:
            _save_changes(row, {name: changes[name] for name in changed})
            outbox.publish_many([_change_event("memory_log.updated", row, outbox.INTERACTIVE)])
    return row


def replace_raw_data(changed: Mapping[MemoryLog, dict[str, Any]], *, priority: int = outbox.BULK) -> None:
    """Replace the raw_data of many memories: a new version and a `memory_log.updated` event for each.

    The caller has locked the rows.
    """
    for row, raw_data in changed.items():
        _set_changes(row, {"raw_data": raw_data})
    fields = ["raw_data", "version", "content_hash", "updated_at"]
    with transaction.atomic():
        MemoryLog.objects.bulk_update(list(changed), fields)
        outbox.publish_many(_change_event("memory_log.updated", row, priority) for row in changed)


def delete_memory(memory_id: int, *, expected_version: int | None = None) -> None:
    """Delete a memory and publish `memory_log.deleted`.

    The stored answer of its Idempotency-Key goes as well. Its versions stay for HISTORY_RETENTION_DAYS.

    Raises MemoryLog.DoesNotExist; VersionConflict when `expected_version` is given and is not the current one.
    """
    with transaction.atomic():
        _delete([_lock(memory_id, expected_version)], outbox.INTERACTIVE)


def delete_memories(memory_ids: Sequence[int], *, priority: int = outbox.BULK) -> int:
    """Delete many memories as `delete_memory` does; returns how many there were."""
    with transaction.atomic():
        rows = MemoryLog.objects.select_for_update().defer("embedding").order_by("id")
        return _delete(list(rows.filter(id__in=memory_ids)), priority)


def _delete(rows: Sequence[MemoryLog], priority: int) -> int:
    events = [_change_event("memory_log.deleted", row, priority) for row in rows]
    for row in rows:
        if row.idempotency_key:
            idempotency.forget(row.tenant, row.idempotency_key)
    ids = [row.id for row in rows]
    MemoryLog.objects.filter(id__in=ids)._raw_delete("default")  # noqa: SLF001 - nothing cascades
    if settings.HISTORY_RETENTION_DAYS == 0:
        MemoryVersion.objects.filter(pgh_obj_id__in=ids)._raw_delete("default")  # noqa: SLF001
    outbox.publish_many(events)
    return len(rows)


def _lock(memory_id: int, expected_version: int | None) -> MemoryLog:
    row = MemoryLog.objects.select_for_update(no_key=True).defer("embedding").get(id=memory_id)
    if expected_version not in (None, row.version):
        raise VersionConflict(row.version)
    return row


def _save_changes(row: MemoryLog, changes: Mapping[str, Any]) -> None:
    _set_changes(row, changes)
    row.save(update_fields=[*changes, "version", "content_hash", "updated_at"])
    row.refresh_from_db(fields=["updated_at"])


def _set_changes(row: MemoryLog, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(row, name, value)
    row.version += 1
    row.content_hash = text_hash(searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data))
    # The time of the statement: the transaction may have begun before the version that it waited for.
    row.updated_at = StatementTime()


def _is_equal(one: object, other: object) -> bool:
    """Whether two values are stored alike. In Python 1 equals True, in JSON it does not."""
    if isinstance(one, dict):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return one == other


def _fields(new: NewMemory) -> dict[str, Any]:
    text = searchable_text(task=new.task, agent=new.agent, raw_data=new.raw_data)
    return {**vars(new), "expires_at": _expiry(new), "content_hash": text_hash(text)}


def _expiry(new: NewMemory) -> datetime | None:
    if new.expires_at or not settings.MEMORY_TTL_DAYS:
        return new.expires_at
    return timezone.now() + timedelta(days=settings.MEMORY_TTL_DAYS)


def _stored_event(new: NewMemory, carried: Mapping[str, str], priority: int) -> outbox.RowEvent:
    """The event of a new memory. `publish_with` adds the memory's id to it."""
    payload = {"version": 1, **_tenant(new), **_content(new)}
    return outbox.RowEvent(
        type="memory_log.stored",
        aggregatetype=AGGREGATE,
        payload=payload,
        headers=carried,
        priority=priority,
    )


def _change_event(type: str, row: MemoryLog, priority: int) -> outbox.NewEvent:
    payload = {"memory_log_id": row.id, "version": row.version, **_tenant(row)}
    if type != "memory_log.deleted":
        payload |= _content(row)
    return outbox.NewEvent(
        type=type, aggregatetype=AGGREGATE, aggregateid=row.id, payload=payload, priority=priority
    )


def _tenant(memory: MemoryLog | NewMemory) -> dict[str, Any]:
    return {"user_id": memory.user_id, "project_id": memory.project_id}


def _content(memory: MemoryLog | NewMemory) -> dict[str, Any]:
    return {
        "task": memory.task,
        "agent": memory.agent,
        "date": memory.date.isoformat(),
        "raw_data": memory.raw_data,
    }
