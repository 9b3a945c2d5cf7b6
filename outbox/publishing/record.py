"""Recording: an event without a change, for readers of the stream."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.publishing import headers
from outbox.publishing.encoding import as_json
from outbox.registry import is_handled

INSERT = f"""
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, headers, status, delivered_at)
SELECT %(aggregatetype)s, %(aggregateid)s, %(type)s, %(payload)s::jsonb, %(headers)s::jsonb, 'delivered', now()
WHERE {ASYNC_COMMIT}
"""


def record(type: str, *, aggregate: tuple[str, str | int], payload: Mapping[str, Any]) -> None:
    """Record an event of an action that changed nothing, so that there is no transaction to join.

    The statement does not wait for the disk, so a crash of PostgreSQL can lose the last recorded events. Inside a
    transaction of the caller, the event is stored with that transaction.

    Raises ValueError if the type has a handler, because no event of such a type may be lost, UnknownEventType if
    the type is not declared, TypeError or ValueError if the payload is no JSON (NaN is none).
    """
    if is_handled(type):
        raise ValueError(f"{type} has a handler: publish() it in the transaction of its change.")
    aggregatetype, aggregateid = aggregate
    row: dict[str, str | bool] = {
        "aggregatetype": aggregatetype,
        "aggregateid": str(aggregateid),
        "type": type,
        "payload": as_json(payload, [(type, payload)]),
        "headers": as_json(headers.merge(headers.current())),
        "own_transaction": own_transaction(),
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT, row)
