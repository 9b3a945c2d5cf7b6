"""Insert new memories, and one event for each, in a single statement.

This is ten times as fast as Django's bulk_create. bulk_create resolves the expressions of the database defaults for
each row and quotes each value separately; here all rows are one parameter.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS

import outbox
from memories.models import MemoryLog

# The ids grow in the order of the rows.
INSERT = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, content_hash, idempotency_key,
                         external_id, expires_at, version, embedding_model, embedded_hash)
SELECT user_id, project_id, task, agent, date, raw_data, content_hash, idempotency_key, external_id,
       expires_at, 1, '', ''
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
    user_id text, project_id text, task text, agent text, date date, raw_data jsonb, content_hash text,
    idempotency_key text, external_id text, expires_at timestamptz
)) WITH ORDINALITY
ORDER BY ordinality
RETURNING id, created_at
"""


# The fields that are known after the insert. from_db needs them in the order of the model's fields.
LOADED_FIELDS = (
    *("id", "user_id", "project_id", "task", "agent", "date", "raw_data", "version", "content_hash"),
    *(
        "embedded_at",
        "indexed_version",
        "indexed_at",
        "idempotency_key",
        "external_id",
        "expires_at",
        "created_at",
        "updated_at",
    ),
)


def insert(new: Iterable[dict[str, Any]], events: Iterable[outbox.RowEvent]) -> list[MemoryLog]:
    """Insert rows and publish one event for each row.

    `new` has the fields of each row, `events` the event of each row in the same order. The payload of an event gets
    the id of its row as `memory_log_id`. Returns the stored memories in the same order. Raises IntegrityError when
    an Idempotency-Key is already stored; then nothing is stored.
    """
    rows = list(new)
    inserted = outbox.publish_with(INSERT, [_json(rows)], events, key="memory_log_id")
    return [_loaded(row, *given) for row, given in zip(rows, inserted, strict=True)]


def _loaded(row: dict[str, Any], memory_id: int, created_at: datetime) -> MemoryLog:
    values = dict.fromkeys(LOADED_FIELDS) | row
    values |= {"id": memory_id, "version": 1, "created_at": created_at, "updated_at": created_at}
    return MemoryLog.from_db(DEFAULT_DB_ALIAS, LOADED_FIELDS, [values[name] for name in LOADED_FIELDS])


def _json(rows: Sequence[dict[str, Any]]) -> str:
    try:
        return orjson.dumps(rows).decode()
    except TypeError:  # orjson writes no integer above 64 bits
        return json.dumps(rows, default=str)
