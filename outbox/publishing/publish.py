"""Publishing: the change and its event are stored in one transaction, or neither is stored."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection

from outbox.database import prepared
from outbox.events import INTERACTIVE, NewEvent, RowEvent
from outbox.exceptions import NotInTransaction
from outbox.models import Event, Status
from outbox.publishing import headers as bound_headers
from outbox.publishing.encoding import as_json
from outbox.registry import is_handled

# The rows are one parameter. This is ten times as fast as bulk_create, which resolves the expressions of the
# database's defaults and quotes each value for every row. The ids follow the order of the rows.
INSERT = """
INSERT INTO outbox_event
    (aggregatetype, aggregateid, type, payload, headers, status, priority, available_at, delivered_at)
SELECT aggregatetype, {aggregateid}, type, {payload}, headers, status, priority,
       coalesce(available_at, now()), CASE WHEN status = 'delivered' THEN now() END
FROM ROWS FROM (jsonb_to_recordset({rows}::jsonb) AS (
    aggregatetype text, aggregateid text, type text, payload jsonb, headers jsonb, status text, priority smallint,
    available_at timestamptz
)) WITH ORDINALITY {joined}
ORDER BY ordinality
"""
PUBLISH = INSERT.format(aggregateid="aggregateid", payload="payload", joined="", rows="%s") + "RETURNING id"
# With the FULL JOIN, a row without an event and an event without a row both violate NOT NULL and fail the statement.
PUBLISH_WITH = (
    """
WITH made AS ({made}), placed AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM made
), published AS ("""
    + INSERT.format(
        aggregateid="placed.id::text",
        payload="payload || jsonb_build_object(%s::text, placed.id)",
        joined="FULL JOIN placed ON placed.place = ordinality",
        rows="%s",
    )
    + """)
SELECT * FROM made ORDER BY id
"""
)

# The fields of a published event that are known without reading it back. from_db needs the order of the model.
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
    """Insert an event in the current transaction. The cluster delivers it after the commit.

    `aggregate`: (type, id) of the changed object; its events are delivered one at a time, in order.
    `headers`: added to the bound headers, which they override.
    `priority`: INTERACTIVE events are delivered before BULK events.
    `available_at`: the event, and with it the later events of its aggregate, are not delivered before this time.
    An event of a type that is only declared is recorded and not delivered.

    Raises NotInTransaction outside `transaction.atomic()`, UnknownEventType if the type has neither a handler nor
    a declaration, TypeError or ValueError if the payload is no JSON (NaN is none).
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
    """Insert many events with one statement. Raises the errors of `publish`."""
    if not _in_transaction():
        raise NotInTransaction(
            "publish() was called outside a transaction. Wrap the change and its event in transaction.atomic(), "
            "so that both are stored or neither."
        )
    bound = bound_headers.current()
    rows = [_whole_row(event, bound) for event in events]
    if not rows:
        return []
    ids = sorted(event_id for (event_id,) in prepared.rows(PUBLISH, [_as_json(rows)]))
    return [_event({**row, "id": event_id}) for event_id, row in zip(ids, rows, strict=True)]


def publish_with(
    write: str, parameters: Sequence[Any], events: Iterable[RowEvent], *, key: str
) -> list[tuple[Any, ...]]:
    """Write rows and publish one event for each of them in one statement. It needs no transaction.

    `write`: an INSERT, UPDATE or DELETE that returns the `id`s of its rows as `id` in its first column. The events are
    in the ascending order of the ids.
    `parameters`: the parameters of `write`.
    `events`: one event for each row. The row's id becomes the event's aggregateid.
    `key`: the name under which the row's id is added to the event's payload.

    Returns the rows that `write` returns. Raises UnknownEventType, TypeError and ValueError as `publish` does,
    IntegrityError if there are more or fewer events than rows.
    """
    bound = bound_headers.current()
    rows = [_row(event, bound) for event in events]
    return prepared.rows(PUBLISH_WITH.replace("{made}", write), [*parameters, key, _as_json(rows)])


def _in_transaction() -> bool:
    """Whether the caller opened a transaction. The one that Django wraps around a TestCase does not count."""
    blocks = connection.atomic_blocks
    return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)


def as_rows(events: Iterable[NewEvent], bound: Mapping[str, str]) -> str:
    """The events as the JSON of INSERT, with the bound headers. Raises what `publish` raises for a type or payload."""
    return _as_json([_whole_row(event, bound) for event in events])


def _whole_row(event: NewEvent, bound: Mapping[str, str]) -> dict[str, Any]:
    return {**_row(event, bound), "aggregateid": str(event.aggregateid)}


def _row(event: RowEvent, bound: Mapping[str, str]) -> dict[str, Any]:
    return {
        "aggregatetype": event.aggregatetype,
        "type": event.type,
        "payload": event.payload,
        "headers": bound_headers.merge(bound, event.headers),
        "status": str(Status.PENDING if is_handled(event.type) else Status.DELIVERED),
        "priority": event.priority,
        **({"available_at": event.available_at.isoformat()} if event.available_at else {}),
    }


def _as_json(rows: list[dict[str, Any]]) -> str:
    return as_json(rows, ((row["type"], row["payload"]) for row in rows))


def _event(row: Mapping[str, Any]) -> Event:
    """The event as a model instance. Fields that the database filled in are deferred."""
    return Event.from_db(DEFAULT_DB_ALIAS, KNOWN, [row[name] for name in KNOWN])
