"""Rows a minute for the charts of the last half hour: what each cluster delivered, and how many events waited.

The heartbeat of a cluster writes them over its own connection, so a page reads a few hundred rows, however many events
there are.
"""

import time
from typing import Any
from uuid import UUID

import psycopg
from psycopg.errors import QueryCanceled

from outbox.cluster import activity
from outbox.operations.statistics import BACKLOG

ACTIVITY = """
INSERT INTO outbox_activity AS a (minute, cluster, type, delivered)
SELECT date_trunc('minute', now()), relay.host || ':' || relay.pid, counted.type, counted.delivered
FROM outbox_relay relay, unnest(%(types)s::text[], %(counts)s::bigint[]) AS counted (type, delivered)
WHERE relay.id = %(relay)s
ON CONFLICT (minute, cluster, type) DO UPDATE SET delivered = a.delivered + excluded.delivered
"""
# The first cluster writes the sample of a minute. The type '' stands for all types, so that a minute in which no event
# waits has a row too.
WAITING = f"""
INSERT INTO outbox_waiting (minute, type, count, oldest_seconds)
SELECT date_trunc('minute', now()), coalesce(type, ''), coalesce(sum(count), 0), greatest(max(oldest), 0)
FROM ({BACKLOG}) AS found (type, status, count, retrying, oldest) WHERE status IN ('pending', 'claimed')
GROUP BY GROUPING SETS ((type), ())
ON CONFLICT DO NOTHING
"""
IS_SAMPLED = "SELECT FROM outbox_waiting WHERE minute = date_trunc('minute', now()) LIMIT 1"
FORGET = (
    "DELETE FROM outbox_activity WHERE minute < now() - interval '1 day'",
    "DELETE FROM outbox_waiting WHERE minute < now() - interval '1 day'",
)
# A sample must not delay the heartbeat: with a million waiting events it takes half a second.
LONGEST_MS = 1500
# How often a cluster looks whether the minute has a sample.
SECONDS = 10.0


class Samples:
    """Writes the rows of one cluster."""

    def __init__(self) -> None:
        self._next = 0.0

    def write(self, session: psycopg.Connection[Any], relay: UUID) -> None:
        """Write what this cluster delivered since the last call and, once a minute, how many events wait.

        `session`: an autocommit connection.
        """
        counted = activity.shared()
        if counted and (counts := counted.take()):
            session.execute(
                ACTIVITY, {"relay": relay, "types": list(counts), "counts": list(counts.values())}
            )
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS
            if session.execute(IS_SAMPLED).fetchone() is None:
                _sample(session)


def _sample(session: psycopg.Connection[Any]) -> None:
    try:
        with session.transaction():
            session.execute(f"SET LOCAL statement_timeout = {LONGEST_MS}")
            session.execute(WAITING)
            for statement in FORGET:
                session.execute(statement)
    except QueryCanceled:
        pass  # this minute has no sample
