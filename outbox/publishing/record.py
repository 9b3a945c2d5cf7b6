"""Recording: an event that tells of no change, for others to read."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from outbox.database.async_commit import ASYNC_COMMIT
from outbox.publishing import headers
from outbox.publishing.publish import as_json
from outbox.registry import is_handled

# One statement, and so a transaction of its own where there is none.
INSERT = f"""
INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, headers, status, delivered_at)
SELECT %s, %s, %s, %s::jsonb, %s::jsonb, 'delivered', now() WHERE {ASYNC_COMMIT}
"""


def record(type: str, *, aggregate: tuple[str, str | int], payload: Mapping[str, Any]) -> None:
    """Record an event of something that was done and changed nothing: there is no transaction to join.

    It does not wait for the disk: a crash of Postgres can take the last ones with it. Raises ValueError for a type
    that has a handler, which must lose none, and UnknownEventType for one that nobody declared.
    """
    if is_handled(type):
        raise ValueError(f"{type} has a handler: publish() it in the transaction of the change it tells of.")
    aggregatetype, aggregateid = aggregate
    row = (
        aggregatetype,
        str(aggregateid),
        type,
        as_json(payload),
        as_json(headers.joined(headers.current())),
    )
    with connection.cursor() as cursor:
        cursor.execute(INSERT, row)
