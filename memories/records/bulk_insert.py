"""Insert new memories, and one event for each, in a single statement.

This is ten times as fast as Django's bulk_create. bulk_create resolves the expressions of the database defaults for
each row and quotes each value separately; here all rows are one parameter.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS

import outbox
from memories.models import MemoryLog
from memories.models.base import ContentKey

# Of the memories with the same text only so many are compared: a tenant may have any number of them.
COMPARED = 10
# The ids grow in the order of the rows. Rows of the same statement do not see each other as duplicates.
INSERT = f"""
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, content_hash, idempotency_key,
                         external_id, similar_to, expires_at, version, created_at, updated_at,
                         embedding, embedding_model, embedded_hash, embedded_at, duplicate_of)
SELECT user_id, project_id, task, agent, date, raw_data, content_hash, idempotency_key, external_id, similar_to,
       expires_at, coalesce(version, 1), coalesce(created_at, statement_timestamp()),
       coalesce(updated_at, created_at, statement_timestamp()),
       embedding::vector, coalesce(embedding_model, ''), CASE WHEN embedding IS NULL THEN '' ELSE content_hash END,
       CASE WHEN embedding IS NOT NULL THEN statement_timestamp() END, (
           SELECT same.id FROM (
               SELECT * FROM memory_logs AS m
               WHERE {ContentKey.SQL.format("m.")} = {ContentKey.SQL.format("given.")}
               LIMIT {COMPARED}
           ) AS same
           WHERE same.user_id = given.user_id AND same.project_id = given.project_id
             AND same.task = given.task AND same.agent = given.agent AND same.raw_data = given.raw_data
             AND (same.expires_at IS NULL OR same.expires_at > statement_timestamp())
           LIMIT 1
       )
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
    user_id text, project_id text, task text, agent text, date date, raw_data jsonb, content_hash text,
    idempotency_key text, external_id text, similar_to bigint, expires_at timestamptz,
    version integer, created_at timestamptz, updated_at timestamptz, embedding text, embedding_model text
)) WITH ORDINALITY AS given
ORDER BY ordinality
RETURNING id, version, created_at, updated_at, duplicate_of
"""
# What the statement returns.
RETURNED = ("id", "version", "created_at", "updated_at", "duplicate_of")


# The fields that are known after the insert. from_db needs them in the order of the model's fields.
LOADED_FIELDS = (
    *("id", "user_id", "project_id", "task", "agent", "date", "raw_data", "version", "content_hash"),
    *(
        "embedded_at",
        "indexed_version",
        "indexed_at",
        "idempotency_key",
        "external_id",
        "duplicate_of",
        "similar_to",
        "expires_at",
        "created_at",
        "updated_at",
    ),
)


def insert(new: Iterable[dict[str, Any]], events: Iterable[outbox.RowEvent]) -> list[MemoryLog]:
    """Insert rows and publish one event for each row.

    `new` has the fields of each row, `events` the event of each row in the same order. The payload of an event gets
    the id of its row as `memory_log_id`. A row from an export may have its version, its times and its embedding.
    Returns the stored memories in the same order. Raises IntegrityError when an Idempotency-Key or external id is
    already stored; then nothing is stored.
    """
    rows = list(new)
    inserted = outbox.publish_with(INSERT, [_json(rows)], events, key="memory_log_id")
    return [
        _loaded(row | dict(zip(RETURNED, given, strict=True)))
        for row, given in zip(rows, inserted, strict=True)
    ]


def _loaded(row: dict[str, Any]) -> MemoryLog:
    values = dict.fromkeys(LOADED_FIELDS) | row
    return MemoryLog.from_db(DEFAULT_DB_ALIAS, LOADED_FIELDS, [values[name] for name in LOADED_FIELDS])


def _json(rows: Sequence[dict[str, Any]]) -> str:
    try:
        return orjson.dumps(rows).decode()
    except TypeError:  # orjson writes no integer above 64 bits
        return json.dumps(rows, default=str)
