"""Parking: events that wait behind many others of their aggregate leave the claim's index until their turn comes."""

from collections.abc import Collection
from typing import Any

from django.db import connection

from outbox.database.channels import EVENTS, notifies

# Lets the next event of each of these events' aggregates be claimed, and wakes the relays for it. A time in the NOTIFY
# is for fresh events only.
UNBLOCK_NEXT = """
WITH head AS (
    SELECT first.* FROM outbox_event gone CROSS JOIN LATERAL (
        SELECT e.id, e.status, e.available_at, e.attempts = 0 AND e.batch_limit IS NULL AS fresh FROM outbox_event e
        WHERE e.aggregatetype = gone.aggregatetype AND e.aggregateid = gone.aggregateid
          AND e.status IN ('pending', 'claimed')
        ORDER BY e.id LIMIT 1) AS first
    WHERE gone.id = ANY(%(ids)s)
), parked AS (
    SELECT e.id FROM outbox_event e JOIN head USING (id)
    WHERE e.status = 'pending' AND e.parked_until IS NOT NULL FOR UPDATE OF e SKIP LOCKED
), unparked AS (
    UPDATE outbox_event e SET parked_until = NULL FROM parked WHERE e.id = parked.id
)
SELECT pg_notify(%(channel)s, CASE WHEN bool_and(fresh) THEN extract(epoch FROM min(available_at))::text ELSE '' END)
FROM head
WHERE status = 'pending' AND %(notify)s HAVING count(*) > 0
"""

# If one aggregate has thousands of events, every claim would read all of them, although only one may run. If most
# events at the front of a type cannot run, this statement takes them out of the claim's index.
PARK = """
WITH front AS (
    SELECT waiting.* FROM unnest(%(types)s::text[]) AS handled (type) CROSS JOIN LATERAL (
        SELECT e.id, e.aggregatetype, e.aggregateid FROM outbox_event e
        WHERE e.type = handled.type AND e.status = 'pending' AND e.attempts = 0 AND e.parked_until IS NULL
          AND e.batch_limit IS NULL AND e.available_at <= statement_timestamp()
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

# Unparks the events whose turn has come.
UNBLOCK = """
WITH free AS (
    SELECT e.id FROM outbox_event e
    WHERE {which} AND e.status = 'pending' AND NOT EXISTS (
        SELECT FROM outbox_event earlier
        WHERE earlier.aggregatetype = e.aggregatetype AND earlier.aggregateid = e.aggregateid
          AND earlier.status IN ('pending', 'claimed') AND earlier.id < e.id OFFSET 0)
    FOR UPDATE SKIP LOCKED
)
UPDATE outbox_event e SET parked_until = NULL FROM free WHERE e.id = free.id
"""
# An earlier event may have been settled while PARK ran, and its UNBLOCK_NEXT did not see the parked event.
UNBLOCK_PARKED = UNBLOCK.format(which="e.id = ANY(%(ids)s)")
# The workers of a dead cluster may have settled events without running UNBLOCK_NEXT, and nobody knows which events.
UNBLOCK_ALL = UNBLOCK.format(which="e.parked_until IS NOT NULL")

# For anything that the other statements miss.
UNPARK_EXPIRED = """
WITH expired AS (
    SELECT id FROM outbox_event WHERE parked_until < statement_timestamp() AND status = 'pending'
    LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE outbox_event e SET parked_until = NULL FROM expired WHERE e.id = expired.id
"""

PARKED_SECONDS = 300.0
# FRONT: events of a type that are checked. WORTHWHILE: how many of them must be blocked before any is parked.
# STRIDE: events that each further statement checks.
FRONT, WORTHWHILE, STRIDE = 1_000, 800, 10_000


def unblock_next(ids: Collection[int]) -> None:
    """Let the next event of each of these events' aggregates be claimed. Call it when these events are settled."""
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(UNBLOCK_NEXT, {"ids": list(ids), "notify": notifies(), "channel": EVENTS})


def park(types: Collection[str]) -> int:
    """Park events that wait for others of their aggregate, if they are many. Returns how many were parked."""
    count = parked = _park(types, FRONT)
    while parked:
        parked = _park(types, STRIDE)
        count += parked
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
            cursor.execute(UNBLOCK_PARKED, {"ids": ids})
    return len(ids)


def unblock_all() -> int:
    """Unpark every event whose turn has come. Returns how many. It reads all parked events: for the rare case only."""
    with connection.cursor() as cursor:
        cursor.execute(UNBLOCK_ALL)
        return int(cursor.rowcount)


def unpark_expired() -> int:
    """Unpark the events whose `parked_until` has passed. Returns how many, at most 10,000."""
    with connection.cursor() as cursor:
        cursor.execute(UNPARK_EXPIRED)
        return int(cursor.rowcount)
