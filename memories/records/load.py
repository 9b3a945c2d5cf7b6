"""Load memories from a file: a memory that is stored already is found again, so a file can be loaded twice."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from django.db import connection

import outbox
from memories.models import MemoryLog
from memories.records.put import key_of, lock_stored, replace_rows, retry_on_conflict
from memories.records.services import Insert, NewMemory, insert_rows, prepare
from memories.tenants import Tenant

# How far the length of a unit vector may be from 1.
TOLERANCE = 1e-3

# The one version that the trigger wrote became so when the memory was last changed.
DATE_VERSIONS = "UPDATE memory_versions SET pgh_created_at = updated_at WHERE pgh_obj_id = ANY(%s)"
FORGET_VERSIONS = "DELETE FROM memory_versions WHERE pgh_obj_id = ANY(%s)"
LOAD_VERSIONS = """
INSERT INTO memory_versions (pgh_obj_id, pgh_label, pgh_created_at, user_id, project_id, task, agent, date, raw_data,
                             external_id, version, created_at, updated_at)
SELECT memory_id, change, changed_at, user_id, project_id, task, agent, date, raw_data,
       external_id, version, created_at, updated_at
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
    memory_id bigint, change text, changed_at timestamptz, user_id text, project_id text, task text, agent text,
    date date, raw_data jsonb, external_id text, version integer, created_at timestamptz, updated_at timestamptz
)) WITH ORDINALITY
ORDER BY ordinality
"""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a memory was in the service that exported it, as far as the line tells."""

    id: int | None = None
    version: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    embedding: Sequence[float] | None = None
    embedding_model: str = ""
    # Every version, oldest first, as the API answers it.
    versions: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a file: fields of NewMemory, the memory's origin, and how many equal lines the file has before it."""

    fields: dict[str, Any]
    origin: Origin = field(default_factory=Origin)
    equal_before: int = 0


class Outcome(NamedTuple):
    """How many memories a load stored, replaced, and found unchanged."""

    stored: int = 0
    replaced: int = 0
    unchanged: int = 0


def content_of(fields: dict[str, Any]) -> bytes:
    """A hash of the fields, whatever the order of their keys."""
    return sha256(json.dumps(fields, sort_keys=True, default=str).encode()).digest()


def load(lines: Sequence[Line], *, priority: int = outbox.BULK) -> Outcome:
    """Store the memories of these lines: all, or none.

    A memory that is stored already is replaced, unless it has a higher version than the line. It is known by its
    external id; by its id and time of creation in the service that exported it; else by its content. Two of the lines
    have no external id in common.
    """
    return retry_on_conflict(lambda: _load([_with_key(line) for line in lines], priority))


def _load(lines: Sequence[Line], priority: int) -> Outcome:
    stored = _stored(lines, priority)
    pairs = [(row, line) for row, line in zip(stored, lines, strict=True) if row]
    older = [(row, line.fields) for row, line in pairs if row.version <= (line.origin.version or row.version)]
    replaced = replace_rows(older, priority)
    new = [line for row, line in zip(stored, lines, strict=True) if row is None]
    if new:
        _insert(new, priority)
    return Outcome(len(new), replaced, len(pairs) - replaced)


def _with_key(line: Line) -> Line:
    """A memory without an external id gets an Idempotency-Key, by which it is found the next time."""
    if line.fields.get("external_id"):
        return line
    if line.origin.id and line.origin.created_at:
        key = f"loaded:{line.origin.id}:{line.origin.created_at.isoformat()}"
    else:
        key = f"loaded:{content_of(line.fields).hex()}:{line.equal_before}"
    return Line(fields=line.fields | {"idempotency_key": key}, origin=line.origin)


def _stored(lines: Sequence[Line], priority: int) -> list[MemoryLog | None]:
    """The stored memory of each line, locked."""
    external = lock_stored((line.fields for line in lines), priority)
    keyed = _by_key(line for line in lines if line.fields.get("idempotency_key"))
    here = _exported_here(lines)
    return [
        external.get(key_of(line.fields))
        or keyed.get((_tenant(line), line.fields.get("idempotency_key")))
        or here.get((_tenant(line), line.origin.id, line.origin.created_at))
        for line in lines
    ]


def _by_key(lines: Iterable[Line]) -> dict[Any, MemoryLog]:
    keys: dict[Tenant, list[str]] = {}
    for line in lines:
        keys.setdefault(_tenant(line), []).append(line.fields["idempotency_key"])
    rows: list[MemoryLog] = []
    for tenant in sorted(keys):
        rows += _locked().filter(**tenant._asdict(), idempotency_key__in=keys[tenant])
    return {(row.tenant, row.idempotency_key): row for row in rows}


def _exported_here(lines: Iterable[Line]) -> dict[Any, MemoryLog]:
    ids = [line.origin.id for line in lines if line.origin.id]
    return {(row.tenant, row.id, row.created_at): row for row in _locked().filter(id__in=ids)}


def _locked() -> Any:
    rows = MemoryLog.objects.unexpired().defer("embedding").order_by("id")
    return rows.select_for_update(no_key=True)


def _insert(lines: Sequence[Line], priority: int) -> None:
    rows = insert_rows([_prepare(line) for line in lines], priority)
    with connection.cursor() as cursor:
        dated = [row.id for row, line in zip(rows, lines, strict=True) if line.origin.updated_at]
        cursor.execute(DATE_VERSIONS, [dated])
        whole = [(row.id, line.origin.versions) for row, line in zip(rows, lines, strict=True)]
        versions = [{"memory_id": id} | state for id, states in whole for state in states]
        if versions:
            cursor.execute(FORGET_VERSIONS, [[id for id, states in whole if states]])
            cursor.execute(LOAD_VERSIONS, [json.dumps(versions, default=str)])


def _prepare(line: Line) -> Insert:
    insert, origin = prepare(NewMemory(**line.fields)), line.origin
    row = {
        name: getattr(origin, name)
        for name in ("version", "created_at", "updated_at")
        if getattr(origin, name)
    }
    if origin.embedding is not None and origin.embedding_model and _is_unit(origin.embedding):
        row |= {"embedding": json.dumps(origin.embedding), "embedding_model": origin.embedding_model}
    return Insert(insert.row | row, insert.headers)


def _is_unit(vector: Sequence[float]) -> bool:
    return bool(abs(np.linalg.norm(np.asarray(vector, dtype=np.float64)) - 1) <= TOLERANCE)


def _tenant(line: Line) -> Tenant:
    return Tenant(line.fields["user_id"], line.fields["project_id"])
