"""Keeping an aggregate's events in order costs little, however many of them wait."""

from collections.abc import Collection
from typing import Any

from django.db import connection

from outbox.database.channels import EVENTS, notifies

# What comes after these events in their aggregates may be claimed now, if nothing else is in its way.
UNBLOCK_NEXT = """
WITH head AS (
    SELECT first.* FROM outbox_event gone CROSS JOIN LATERAL (
        SELECT e.id, e.status, e.available_at FROM outbox_event e
        WHERE e.aggregatetype = gone.aggregatetype AND e.aggregateid = gone.aggregateid
          AND e.status IN ('pending', 'claimed')
        ORDER BY e.id LIMIT 1) AS first
    WHERE gone.id = ANY(%(ids)s)
), aside AS (
    SELECT e.id FROM outbox_event e JOIN head USING (id)
    WHERE e.status = 'pending' AND e.parked_until IS NOT NULL FOR UPDATE OF e SKIP LOCKED
), back AS (
    UPDATE outbox_event e SET parked_until = NULL FROM aside WHERE e.id = aside.id
)
SELECT pg_notify(%(channel)s, extract(epoch FROM min(available_at))::text) FROM head
WHERE status = 'pending' AND %(notify)s HAVING count(*) > 0
"""

# Thousands of events of one aggregate, of which one may run, would be looked at by every claim. Where most of
# those at the front of a type cannot run, they are taken out of the claim's index until their turn comes.
PARK = """
WITH front AS (
    SELECT waiting.* FROM unnest(%(types)s::text[]) AS handled (type) CROSS JOIN LATERAL (
        SELECT e.id, e.aggregatetype, e.aggregateid FROM outbox_event e
        WHERE e.type = handled.type AND e.status = 'pending' AND e.attempts = 0 AND e.parked_until IS NULL
          AND e.available_at <= statement_timestamp()
        ORDER BY e.priority, e.available_at, e.id LIMIT %(limit)s) AS waiting
), blocked AS (
    SELECT front.id FROM front
    WHERE EXISTS (
        SELECT FROM outbox_event earlier
        WHERE earlier.aggregatetype = front.aggregatetype AND earlier.aggregateid = front.aggregateid
          AND earlier.status IN ('pending', 'claimed') AND earlier.id < front.id OFFSET 0)
), taken AS (
    SELECT e.id FROM outbox_event e JOIN blocked USING (id)
    WHERE e.status = 'pending' AND (SELECT count(*) FROM blocked) >= %(worthwhile)s
    FOR UPDATE OF e SKIP LOCKED
)
UPDATE outbox_event e
SET parked_until = statement_timestamp() + make_interval(secs => %(seconds)s)
FROM taken WHERE e.id = taken.id
RETURNING e.id
"""

# The event before one of these was settled while they were set aside, and did not see it: its turn is now.
UNBLOCK = """
WITH free AS (
    SELECT e.id FROM outbox_event e
    WHERE e.id = ANY(%(ids)s) AND e.status = 'pending' AND NOT EXISTS (
        SELECT FROM outbox_event earlier
        WHERE earlier.aggregatetype = e.aggregatetype AND earlier.aggregateid = e.aggregateid
          AND earlier.status IN ('pending', 'claimed') AND earlier.id < e.id OFFSET 0)
    FOR UPDATE SKIP LOCKED
)
UPDATE outbox_event e SET parked_until = NULL FROM free WHERE e.id = free.id
"""

# Only where a worker was killed between settling an event and following it up.
UNPARK_EXPIRED = """
WITH forgotten AS (
    SELECT id FROM outbox_event WHERE parked_until < statement_timestamp() AND status = 'pending'
    LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE outbox_event e SET parked_until = NULL FROM forgotten WHERE e.id = forgotten.id
"""

PARKED_SECONDS = 300.0
# How many of a type are looked at, how many of them must be blocked to bother, how many are then moved at once.
FRONT, WORTHWHILE, STRIDE = 1_000, 800, 10_000


def unblock_next(ids: Collection[int]) -> None:
    """Let the next events of these events' aggregates be claimed: to be called when events are done with."""
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(UNBLOCK_NEXT, {"ids": list(ids), "notify": notifies(), "channel": EVENTS})


def park(types: Collection[str]) -> int:
    """Take events that wait for others of their aggregate out of the claim's way, where they are many."""
    count = moved = _park(types, FRONT)
    while moved:
        moved = _park(types, STRIDE)
        count += moved
    return count


def _park(types: Collection[str], limit: int) -> int:
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {
            "types": list(types),
            "limit": limit,
            "worthwhile": WORTHWHILE,
            "seconds": PARKED_SECONDS,
        }
        cursor.execute(PARK, parameters)
        ids = [row[0] for row in cursor.fetchall()]
        if ids:
            cursor.execute(UNBLOCK, {"ids": ids})
    return len(ids)


def unpark_expired() -> int:
    """Put what was set aside for too long back in the claim's way; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(UNPARK_EXPIRED)
        return int(cursor.rowcount)
