"""Create or replace memories by their external ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import IntegrityError, transaction

import outbox
from memories.models import MemoryLog, StatementTime
from memories.records.constraints import violates
from memories.records.services import (
    CHANGEABLE,
    NewMemory,
    VersionConflict,
    change_event,
    delete_rows,
    insert_rows,
    is_equal,
    prepare,
    set_changes,
)
from memories.tenants import Tenant

# Another request may create a memory between the look for it and the insert. Then it is there at the next attempt.
ATTEMPTS = 3
# The expected version of a memory that must not exist.
ABSENT = 0

# The constraints that such a conflict violates.
CONFLICTS = (MemoryLog.ONE_AN_EXTERNAL_ID, MemoryLog.ONE_A_KEY)

Result = TypeVar("Result")
Fields = Mapping[str, Any]
Key = tuple[str, str, str]


class Put(NamedTuple):
    """A stored memory, and whether it was created."""

    id: int
    created: bool


def put_memories(
    memories: Sequence[Fields], *, priority: int = outbox.BULK, expected_version: int | None = None
) -> list[Put]:
    """Create each memory, or replace the tenant's memory with its `external_id`: all of them, or none.

    `memories` are fields of NewMemory; two of them have no external id in common. In a replaced memory a missing
    raw_data becomes {}, and a missing date or expires_at stays. One that is equal already gets no new version. A memory
    without an external id is created. Raises VersionConflict when `expected_version` is given and a memory is not
    at it; ABSENT expects that there is none.
    """
    return retry_on_conflict(lambda: _put(memories, priority, expected_version))


def retry_on_conflict(write: Callable[[], Result]) -> Result:
    """Run `write` in a transaction, again when another transaction stored the same memory meanwhile."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return write()
        except IntegrityError as error:
            if attempt == ATTEMPTS or not any(violates(error, name) for name in CONFLICTS):
                raise
    raise AssertionError("the last attempt returns or raises")


def _put(memories: Sequence[Fields], priority: int, expected_version: int | None) -> list[Put]:
    stored = lock_stored(memories, priority)
    rows = [stored.get(key_of(fields)) for fields in memories]
    for row in rows:
        _check_version(row, expected_version)
    replace_rows([(row, fields) for row, fields in zip(rows, memories, strict=True) if row], priority)
    new = [prepare(NewMemory(**fields)) for row, fields in zip(rows, memories, strict=True) if row is None]
    created = iter(insert_rows(new, priority) if new else ())
    return [Put(row.id, False) if row else Put(next(created).id, True) for row in rows]


def lock_stored(memories: Iterable[Fields], priority: int) -> dict[Key, MemoryLog]:
    """The stored memories with these external ids, locked, by tenant and external id."""
    wanted: dict[Tenant, list[str]] = {}
    for user_id, project_id, external_id in map(key_of, memories):
        if external_id:
            wanted.setdefault(Tenant(user_id, project_id), []).append(external_id)
    # Always in the same order, so that two requests do not wait for each other.
    return {key: row for tenant in sorted(wanted) for key, row in _lock(tenant, wanted[tenant], priority)}


def _lock(tenant: Tenant, external_ids: list[str], priority: int) -> Iterable[tuple[Key, MemoryLog]]:
    rows = MemoryLog.objects.with_external_id(*tenant, external_ids).defer("embedding").order_by("id")
    # An expired memory is not there for its owner: its place is given to a new one.
    delete_rows(list(rows.filter(expires_at__lte=StatementTime()).select_for_update()), priority)
    return [((*tenant, str(row.external_id)), row) for row in rows.select_for_update(no_key=True)]


def replace_rows(pairs: Iterable[tuple[MemoryLog, Fields]], priority: int) -> int:
    """Replace locked memories by these fields, and publish their events. Returns how many were not equal."""
    changed = [row for row, fields in pairs if set_fields(row, fields)]
    if changed:
        MemoryLog.objects.bulk_update(changed, [*CHANGEABLE, "version", "content_hash", "updated_at"])
        outbox.publish_many(change_event("memory_log.updated", row, priority) for row in changed)
    return len(changed)


def set_fields(row: MemoryLog, fields: Fields) -> bool:
    """Set the fields of the memory. Returns whether one of them is another value."""
    given = {"raw_data": {}} | {name: value for name, value in fields.items() if name in CHANGEABLE}
    changes = {name: value for name, value in given.items() if not is_equal(getattr(row, name), value)}
    if changes:
        set_changes(row, changes)
    return bool(changes)


def _check_version(row: MemoryLog | None, expected: int | None) -> None:
    current = row.version if row else None
    if expected is not None and (current or ABSENT) != expected:
        raise VersionConflict(current)


def key_of(fields: Fields) -> Key:
    """User, project and external id ("" without one)."""
    return fields["user_id"], fields["project_id"], fields.get("external_id") or ""
