"""Recording: an event without a change, for readers of the stream."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.publishing import headers
from outbox.publishing.encoding import as_json
from outbox.registry import is_handled

# The rows come as arrays, one for each column.
INSERT = f"""
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, headers, status, delivered_at)
SELECT aggregatetype, aggregateid, type, payload::jsonb, headers::jsonb, 'delivered', now()
FROM unnest(%(aggregatetype)s::text[], %(aggregateid)s::text[], %(type)s::text[], %(payload)s::text[],
            %(headers)s::text[]) AS row (aggregatetype, aggregateid, type, payload, headers)
WHERE {ASYNC_COMMIT}
"""
COLUMNS = ("aggregatetype", "aggregateid", "type", "payload", "headers")


def record(type: str, *, aggregate: tuple[str, str | int], payload: Mapping[str, Any]) -> None:
    """Record an event of an action that changed nothing, so that there is no transaction to join.

    The statement does not wait for the disk, so a crash of PostgreSQL can lose the last recorded events. Inside a
    transaction of the caller, the event is stored with that transaction.

    Raises ValueError if the type has a handler, because no event of such a type may be lost, UnknownEventType if
    the type is not declared, TypeError or ValueError if the payload is no JSON (NaN is none).
    """
    write([row_of(type, aggregate, payload)])


def row_of(type: str, aggregate: tuple[str, str | int], payload: Mapping[str, Any]) -> dict[str, str]:
    """The columns of an event to record, with the headers that are bound now. Raises what `record` raises."""
    if is_handled(type):
        raise ValueError(f"{type} has a handler: publish() it in the transaction of its change.")
    aggregatetype, aggregateid = aggregate
    return {
        "aggregatetype": aggregatetype,
        "aggregateid": str(aggregateid),
        "type": type,
        "payload": as_json(payload, [(type, payload)]),
        "headers": as_json(headers.merge(headers.current())),
    }


def write(rows: Sequence[Mapping[str, str]]) -> None:
    """Insert recorded events with one statement."""
    parameters: dict[str, Any] = {column: [row[column] for row in rows] for column in COLUMNS}
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {**parameters, "own_transaction": own_transaction()})
