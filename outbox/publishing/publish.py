"""Publishing: the event joins the transaction of the change it tells of, or neither happens."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection

from outbox.events import INTERACTIVE, NewEvent
from outbox.exceptions import NotInTransaction
from outbox.models import Event, Status
from outbox.publishing import headers as bound_headers
from outbox.registry import is_handled

# Ten times as fast as bulk_create, which resolves the expressions of the database's defaults for each row and
# quotes each value by itself; here the rows are one parameter. Ids are given in the order of the rows.
INSERT = """
INSERT INTO outbox_event
    (aggregatetype, aggregateid, type, payload, headers, status, priority, available_at, delivered_at)
SELECT aggregatetype, {aggregateid}, type, {payload}, headers, status, priority,
       coalesce(available_at, now()), CASE WHEN status = 'delivered' THEN now() END
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (
    aggregatetype text, aggregateid text, type text, payload jsonb, headers jsonb, status text, priority smallint,
    available_at timestamptz
)) WITH ORDINALITY {joined}
ORDER BY ordinality
"""
PUBLISH = INSERT.format(aggregateid="aggregateid", payload="payload", joined="") + "RETURNING id"
# FULL, so that a row without an event fails it all, as does an event without a row: neither may be null.
PUBLISH_WITH = (
    """
WITH made AS ({made}), placed AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM made
), published AS ("""
    + INSERT.format(
        aggregateid="placed.id::text",
        payload="payload || jsonb_build_object(%s::text, placed.id)",
        joined="FULL JOIN placed ON placed.place = ordinality",
    )
    + """)
SELECT * FROM made ORDER BY id
"""
)

# What an event is known by once it is published, in the order of the model's fields, which from_db goes by.
KNOWN = ("id", "aggregatetype", "aggregateid", "type", "payload", "headers", "status", "priority")


def publish(
    type: str,
    *,
    aggregate: tuple[str, str | int],
    payload: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    priority: int = INTERACTIVE,
    available_at: datetime | None = None,
) -> Event:
    """Record an event in the current transaction; it is delivered once that has committed.

    `aggregate` is (type, id) of what changed: its events are delivered one at a time, in order. A type that is
    only declared is recorded and delivered to nobody. `available_at` holds it back until then, and with it the
    later events of its aggregate.
    Raises NotInTransaction outside `transaction.atomic()`, UnknownEventType for a type nobody knows.
    """
    aggregatetype, aggregateid = aggregate
    event = NewEvent(
        type=type,
        aggregatetype=aggregatetype,
        aggregateid=aggregateid,
        payload=payload,
        headers=headers or {},
        priority=priority,
        available_at=available_at,
    )
    return publish_many([event])[0]


def publish_many(events: Iterable[NewEvent]) -> list[Event]:
    """Record many events with one statement. Raises as `publish` does."""
    if not _in_transaction():
        raise NotInTransaction(
            "publish() outside a transaction: wrap the change and its event in transaction.atomic(), "
            "so that both are stored or neither."
        )
    travelling = bound_headers.current()
    rows = [_row(event, travelling) for event in events]
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(PUBLISH, [as_json(rows)])
        ids = sorted(event_id for (event_id,) in cursor.fetchall())
    return [_event({**row, "id": event_id}) for event_id, row in zip(ids, rows, strict=True)]


def publish_with(
    insert: str, parameters: Sequence[Any], events: Iterable[NewEvent], *, key: str
) -> list[tuple[Any, ...]]:
    """Make rows and record an event of each in one statement, which happens as a whole, or not at all, by itself.

    `insert` is an INSERT that returns, first, the `id`s of its rows, which grow as the events come. Each event's
    aggregate is its row; the id, not known before, is put into its payload as `key`. Returns what `insert` does.
    Raises UnknownEventType.
    """
    travelling = bound_headers.current()
    rows = [_row(event, travelling) for event in events]
    with connection.cursor() as cursor:
        cursor.execute(PUBLISH_WITH.replace("{made}", insert), [*parameters, key, as_json(rows)])
        return list(cursor.fetchall())


def _in_transaction() -> bool:
    """The transaction that Django wraps around a TestCase does not count: in production it is not there."""
    blocks = connection.atomic_blocks
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)


def _row(event: NewEvent, travelling: Mapping[str, str]) -> dict[str, Any]:
    return {
        "aggregatetype": event.aggregatetype,
        "aggregateid": str(event.aggregateid),
        "type": event.type,
        "payload": event.payload,
        "headers": bound_headers.joined(travelling, event.headers),
        "status": str(Status.PENDING if is_handled(event.type) else Status.DELIVERED),
        "priority": event.priority,
        "available_at": event.available_at and event.available_at.isoformat(),
    }


def as_json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
    except (
        TypeError
    ):  # an integer of more than 64 bits, say: the slower one can, or tells what cannot be written
        return json.dumps(value)


def _event(row: Mapping[str, Any]) -> Event:
    """What the database filled in is read when it is asked for."""
    return Event.from_db(DEFAULT_DB_ALIAS, KNOWN, [row[name] for name in KNOWN])
