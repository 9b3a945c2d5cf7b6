"""Claims: taking events for a worker, and taking back those whose worker was lost."""

import json
import math
import time
from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from django.db import IntegrityError, connection
from django.db.models.functions import Now

from outbox import signals
from outbox.conf import conf
from outbox.database import backoff
from outbox.database.async_commit import ASYNC_COMMIT
from outbox.events import BULK, ClaimedEvent
from outbox.models import Event, Status
from outbox.queue.ordering import unblock_next

# The waiting events of one type that may run now, in their order, over the partial index that holds nothing else.
#
# The two NOT EXISTS keep an aggregate's events one at a time and in order; among concurrent claims the unique
# index outbox_event_in_flight has the last word. OFFSET 0 keeps the planner from turning these probes of an
# index into a join over all events, which it does when its statistics are of another day.
WAITING = """
    SELECT e.id, e.priority, e.available_at FROM outbox_event e
    WHERE e.type = asked.type AND e.status = 'pending' AND e.available_at <= statement_timestamp()
      AND {which}
      AND NOT EXISTS (
          SELECT FROM outbox_event earlier
          WHERE earlier.aggregatetype = e.aggregatetype AND earlier.aggregateid = e.aggregateid
            AND earlier.status IN ('pending', 'claimed') AND earlier.id < e.id OFFSET 0)
      AND NOT EXISTS (
          SELECT FROM outbox_event other
          WHERE other.aggregatetype = e.aggregatetype AND other.aggregateid = e.aggregateid
            AND other.status = 'claimed' OFFSET 0)
    ORDER BY e.priority, e.available_at, e.id
    LIMIT {limit} FOR UPDATE SKIP LOCKED
"""
# parked_until is asked for so that the partial index serves. From a time on, where it is known which are new:
# at the front of the index stands what was delivered since the last vacuum.
FRESH = WAITING.format(
    which="e.attempts = 0 AND e.parked_until IS NULL AND e.available_at >= to_timestamp(%(since)s)",
    limit="%(batch)s",
)
AGAIN = WAITING.format(which="e.attempts > 0", limit="%(retries)s")

# Takes the events that may run now, marks them and hands them out, in one statement.
#
# - A scan a type: delivered rows cost nothing, and neither do the thousands that wait behind an open circuit
#   (their type is just not asked for).
# - SKIP LOCKED keeps concurrent claims out of each other's way; the CTE makes LIMIT hold (an IN (SELECT … LIMIT)
#   may be run again and again by the planner). An array, since rows are only ever fetched by it: of a join, a plan
#   made while the table was empty reads all of it.
# - What is urgent goes by its age. Of bulk each type gets its share: steps that follow one another run side by side,
#   one on the processor while the other waits for its store, and not each when the one before it has done them all.
# - Attempts are counted here, so that an event that kills its worker runs out of them too.
# - The clock is the database's. Not now(), which stands still inside a transaction (a test case).
CLAIM = f"""
WITH asked AS (
    SELECT handled.type FROM unnest(%(types)s::text[]) AS handled (type)
    WHERE {ASYNC_COMMIT} AND NOT EXISTS (
        SELECT FROM outbox_circuit c
        WHERE c.opened_at IS NOT NULL AND c.dependency <> %(probing)s AND handled.type = ANY (c.types))
), candidate AS (
    SELECT waiting.*, row_number() OVER (
        PARTITION BY asked.type, waiting.priority ORDER BY waiting.available_at, waiting.id) AS place
    FROM asked CROSS JOIN LATERAL ({FRESH}) AS waiting
), fresh AS (
    SELECT id FROM candidate
    ORDER BY priority, CASE WHEN priority >= {BULK} THEN place END, available_at, id LIMIT %(batch)s
), again AS (
    SELECT waiting.* FROM asked CROSS JOIN LATERAL ({AGAIN}) AS waiting
    ORDER BY waiting.priority, waiting.available_at, waiting.id LIMIT %(retries)s
)
UPDATE outbox_event e
SET status = 'claimed', attempts = e.attempts + 1, claim_token = %(token)s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %(lease)s)
WHERE e.id = ANY (ARRAY (SELECT id FROM fresh UNION ALL SELECT id FROM again))
RETURNING e.id, e.aggregatetype, e.aggregateid, e.type, e.payload::text, e.headers::text,
    e.priority, e.attempts, e.created_at
"""

# A lease ran out: the worker was killed, or never got to it. Out of attempts it is dead, else it waits again.
RECLAIM_EXPIRED = f"""
WITH lost AS (
    SELECT id FROM outbox_event WHERE status = 'claimed' AND lease_expires_at < statement_timestamp()
    ORDER BY lease_expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE outbox_event e
    SET status = CASE WHEN attempts >= %(max_attempts)s THEN 'dead' ELSE 'pending' END,
        available_at = {backoff.NEXT_ATTEMPT},
        claim_token = NULL, lease_expires_at = NULL, last_error = %(reason)s
    FROM lost WHERE e.id = lost.id RETURNING e.id, e.attempts
), recorded AS (
    INSERT INTO outbox_failure (event_id, attempt, error, traceback, worker)
    SELECT id, attempts, %(reason)s, '', 'lost' FROM freed
)
SELECT id, attempts >= %(max_attempts)s FROM freed
"""

LEASE_EXPIRED = (
    "The lease ran out: the worker was killed (out of memory?), hung, or its machine went away before it could "
    "record an outcome."
)


# What the claim returns of an event: the fields of ClaimedEvent, but payload and headers as text. The relay hands
# them on as they are; a worker reads them.
Row = tuple[Any, ...]
ID, TYPE, PRIORITY, ATTEMPTS = map(ClaimedEvent._fields.index, ("id", "type", "priority", "attempts"))

# How often a claim is tried that crosses those of other clusters.
TRIES = 3


class Claim(NamedTuple):
    """Events taken together; the token is what settling them must name."""

    token: UUID
    rows: list[Row]

    @property
    def fresh(self) -> list[Row]:
        """Those not tried before."""
        return [row for row in self.rows if row[ATTEMPTS] == 1]

    @property
    def again(self) -> list[Row]:
        """Those that failed before, or were lost with their worker. Each is to be delivered alone."""
        return [row for row in self.rows if row[ATTEMPTS] > 1]

    @property
    def events(self) -> list[ClaimedEvent]:
        return events_of(self.rows)


def claim(
    types: Collection[str],
    *,
    batch: int,
    retries: int,
    probing: str = "",
    since: float = -math.inf,
    session: psycopg.Connection[Any] | None = None,
) -> Claim:
    """Claim up to `batch` events not tried before and up to `retries` that were, of these types.

    Types that need a dependency whose circuit is open are left alone, but for the one being `probed`. Of those not
    tried before only what became available `since` then, in seconds since 1970.
    `session`: a connection that autocommits and keeps the statement prepared. Of one event it takes Postgres longer
    to plan the claim than to run it, and of many Django's connection longer to read their times than all else.
    """
    token = uuid4()
    if not types:
        return Claim(token, [])
    parameters = {
        "types": list(types),
        "batch": batch,
        "retries": retries,
        "probing": probing,
        "token": token,
        "lease": conf.LEASE_SECONDS,
        "since": since,
    }
    started = time.perf_counter()
    rows = _run_again_if_crossed(parameters, session)
    if rows:
        seconds = time.perf_counter() - started
        signals.claimed.send_robust(sender=None, count=len(rows), seconds=seconds)
    # RETURNING promises no order.
    return Claim(token, sorted(rows, key=itemgetter(PRIORITY, ID)))


def _run_again_if_crossed(
    parameters: dict[str, Any], session: psycopg.Connection[Any] | None
) -> list[tuple[Any, ...]]:
    for _ in range(TRIES):
        try:
            return _run(parameters, session)
        except IntegrityError:
            # Another cluster took another event of one of these aggregates in this very moment (an event published
            # earlier committed later, or a dead letter came back). Now it is seen as claimed, and the many others of
            # this claim need not wait for the next poll.
            continue
    return []


def _run(parameters: dict[str, Any], session: psycopg.Connection[Any] | None) -> list[tuple[Any, ...]]:
    if session is not None:
        with connection.wrap_database_errors:
            return session.execute(CLAIM, parameters, prepare=True).fetchall()
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, parameters)
        return list(cursor.fetchall())


def events_of(rows: Iterable[Row]) -> list[ClaimedEvent]:
    return [_event(*row) for row in rows]


def _event(
    id: int, aggregatetype: str, aggregateid: str, type: str, payload: str, headers: str, *rest: Any
) -> ClaimedEvent:
    return ClaimedEvent(id, aggregatetype, aggregateid, type, json.loads(payload), json.loads(headers), *rest)


def expire_all_leases() -> int:
    """Let every lease run out now: for who knows that no worker lives, as before the only cluster starts.
    Returns how many there were; the next rescue frees their events."""
    return Event.objects.filter(status=Status.CLAIMED).update(lease_expires_at=Now())


def expire_lease(token: UUID, ids: Collection[int]) -> int:
    """The same of some events of a claim, whose worker is known to be gone."""
    return Event.objects.filter(id__in=ids, claim_token=token).update(lease_expires_at=Now())


def reclaim_expired() -> int:
    """Free the events whose lease ran out; returns how many there were."""
    with connection.cursor() as cursor:
        parameters = {"max_attempts": conf.MAX_ATTEMPTS, "reason": LEASE_EXPIRED, **backoff.parameters()}
        cursor.execute(RECLAIM_EXPIRED, parameters)
        rows = cursor.fetchall()
    unblock_next([id for id, dead in rows if dead])
    return len(rows)
