"""Claims: take events for a worker, and take back the events of lost workers."""

import math
import time
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from django.db import IntegrityError, connection

from outbox import signals
from outbox.conf import conf
from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.events import BULK, ClaimedEvent, ClaimedRow

# The waiting events of one type that may run now, in their order. A partial index holds exactly these events.
#
# The two NOT EXISTS keep an aggregate's events in order and one at a time. Among concurrent claims, the unique index
# outbox_event_in_flight decides. OFFSET 0 stops the planner from turning these index lookups into a join over all
# events, which it does when its statistics are old.
#
# A plan that is made while the table is empty must suit a full table, too: the relay's statement is prepared. So each
# part can only use the index that is meant for it. The comparisons of three columns are for that: `earlier.id < e.id`
# would let the planner read the primary key. They are the two ends of what is read of outbox_event_open: with
# `earlier.aggregateid = e.aggregateid` in place of the first one, PostgreSQL reads every later event of the aggregate.
WAITING = """
    SELECT e.id, e.priority, e.available_at, e.batch_limit FROM outbox_event e
    WHERE e.type = claimable.type AND e.status = 'pending' AND e.available_at <= statement_timestamp()
      AND {which}
      AND NOT EXISTS (
          SELECT FROM outbox_event earlier
          WHERE earlier.status IN ('pending', 'claimed')
            AND (earlier.aggregatetype, earlier.aggregateid, earlier.id) >= (e.aggregatetype, e.aggregateid, 0)
            AND (earlier.aggregatetype, earlier.aggregateid, earlier.id) < (e.aggregatetype, e.aggregateid, e.id)
          OFFSET 0)
      AND NOT EXISTS (
          SELECT FROM outbox_event other
          WHERE other.aggregatetype = e.aggregatetype AND other.aggregateid = e.aggregateid
            AND other.status = 'claimed' OFFSET 0)
    ORDER BY e.priority, e.available_at, e.id
    LIMIT {limit} FOR UPDATE SKIP LOCKED
"""
# Each condition is that of a partial index. `since` skips the front of the index of fresh events, which holds the dead
# entries of events that were delivered since the last vacuum.
FRESH = WAITING.format(
    which="e.attempts = 0 AND e.parked_until IS NULL AND e.batch_limit IS NULL "
    "AND e.available_at >= to_timestamp(%(since)s)",
    limit="%(batch)s",
)
RETRIES = WAITING.format(which="e.attempts > 0 AND e.batch_limit IS NULL", limit="%(retries)s")
SUSPECTS = WAITING.format(
    which="e.batch_limit IS NOT NULL AND (e.batch_limit > 1 OR %(dangerous)s > 0)",
    limit="greatest(%(batch)s, %(retries)s)",
)

# Selects the events that may run now, marks them as claimed and returns them, in one statement.
#
# - It scans an index once for each type. Delivered rows cost nothing, and neither do the events that wait behind an
#   open circuit, because their types are left out.
# - SKIP LOCKED keeps concurrent claims from waiting for each other. The CTE makes LIMIT hold: the planner may run an
#   IN (SELECT … LIMIT) several times. The array makes the planner fetch rows by id: a join that was planned while the
#   table was empty reads the whole table.
# - Interactive events are ordered by age. Bulk events are taken in turn from each type, so that successive steps of
#   one job overlap: one step uses the processor while another waits for its store.
# - The claim counts the attempt, so that an event that kills its worker runs out of attempts too.
# - All times are the database's. statement_timestamp() moves on inside a transaction (a test case), now() does not.
FRESH_IDS = f"""
WITH claimable AS (
    SELECT handled.type FROM unnest(%(types)s::text[]) AS handled (type)
    WHERE {ASYNC_COMMIT} AND NOT EXISTS (
        SELECT FROM outbox_circuit c
        WHERE handled.type = ANY (c.types) AND (c.held_until > statement_timestamp()
            OR (c.opened_at IS NOT NULL AND c.dependency <> ALL (%(probing)s::text[]))))
), fresh AS (
    SELECT waiting.id FROM claimable CROSS JOIN LATERAL ({FRESH}) AS waiting
    ORDER BY waiting.priority, CASE WHEN waiting.priority >= {BULK} THEN row_number() OVER (
        PARTITION BY claimable.type, waiting.priority ORDER BY waiting.available_at, waiting.id) END,
        waiting.available_at, waiting.id LIMIT %(batch)s
)"""
# A suspect fills the share of a task that its batch limit says. The claim takes suspects for as many tasks as it takes
# retries. (0.001 covers the rounding of the shares.) A suspect with a limit of 1 ended a worker when it was handled
# alone. Such dangerous events have a limit of their own, so that they never keep all workers busy.
FAILED_IDS = f"""
, again AS (
    SELECT waiting.* FROM claimable CROSS JOIN LATERAL ({RETRIES}) AS waiting
    ORDER BY waiting.priority, waiting.available_at, waiting.id LIMIT %(retries)s
), suspect AS (
    SELECT id FROM (
        SELECT waiting.id, waiting.batch_limit, sum(1.0 / waiting.batch_limit) OVER earlier AS tasks,
            count(*) FILTER (WHERE waiting.batch_limit = 1) OVER earlier AS dangerous
        FROM claimable CROSS JOIN LATERAL ({SUSPECTS}) AS waiting
        WINDOW earlier AS (ORDER BY waiting.priority, waiting.available_at, waiting.id)) AS shares
    WHERE tasks <= %(retries)s + 0.001 AND (batch_limit > 1 OR dangerous <= %(dangerous)s)
)"""
MARK = """
UPDATE outbox_event e
SET status = 'claimed', attempts = e.attempts + 1, claim_token = %(token)s, relay = %(relay)s,
    lease_expires_at = statement_timestamp() + make_interval(secs => %(lease)s)
WHERE e.id = ANY (ARRAY ({ids}))
RETURNING e.id, e.aggregatetype, e.aggregateid, e.type, e.payload::text, e.headers::text,
    e.priority, e.attempts, e.created_at, e.batch_limit, extract(epoch FROM e.available_at)::float8
"""
CLAIM = f"""{FRESH_IDS}{FAILED_IDS}{
    MARK.format(ids="SELECT id FROM fresh UNION ALL SELECT id FROM again UNION ALL SELECT id FROM suspect")
}"""
# Takes two thirds of the time. Most claims follow a NOTIFY, which tells of fresh events.
CLAIM_FRESH = f"{FRESH_IDS}{MARK.format(ids='SELECT id FROM fresh')}"

ROUNDING_SECONDS = 0.001

# Tries of a claim that conflicts with claims of other clusters.
TRIES = 3


class Claim(NamedTuple):
    """Events that were claimed together. To settle them, one must name the token."""

    token: UUID
    rows: list[ClaimedRow]
    # The claim read the fresh events of these types and priorities up to this time (seconds since 1970). If it is
    # full, the next one can begin here, and skip the dead index entries of all events that were delivered before.
    reached: float = math.inf

    @property
    def fresh(self) -> list[ClaimedRow]:
        """The events of which this is the first attempt."""
        return [row for row in self.rows if row.attempts == 1 and row.batch_limit is None]

    @property
    def retries(self) -> list[ClaimedRow]:
        """The events that failed before. Each is delivered alone."""
        return [row for row in self.rows if row.attempts > 1 and row.batch_limit is None]

    @property
    def suspects(self) -> list[ClaimedRow]:
        """The events whose worker or relay died before. They are delivered in groups of their batch limit."""
        return [row for row in self.rows if row.batch_limit is not None]

    @property
    def events(self) -> list[ClaimedEvent]:
        """All events of the claim, as handlers get them."""
        return [row.event() for row in self.rows]


def claim(
    types: Collection[str],
    *,
    batch: int,
    retries: int,
    dangerous: int | None = None,
    probing: Collection[str] = (),
    since: float = -math.inf,
    relay: UUID | None = None,
    session: psycopg.Connection[Any] | None = None,
    token: UUID | None = None,
) -> Claim:
    """Claim events of these types, ordered by priority and id.

    `batch`: the most fresh events. `retries`: the most events that failed before, and the most tasks of suspects; 0 is
    the faster claim.
    `dangerous`: the most suspects that were alone when they ended a worker; by default as many as `retries`.
    `probing`: the dependencies of a probe. The types behind any other open circuit are not claimed.
    `relay`: the relay that claims. Without one, only the end of the lease frees the events of a lost worker.
    `since`: claim only fresh events that became available at this time or later (seconds since 1970).
    `session`: an autocommit connection that keeps the statement prepared. Without it, PostgreSQL plans the claim of
    one event for longer than it runs it, and Django's connection spends most of its time on reading timestamps.
    `token`: the token of the claim; by default a new one.
    """
    token = token or uuid4()
    if not types:
        return Claim(token, [])
    parameters = {
        "types": list(types),
        "batch": batch,
        "retries": retries,
        "dangerous": retries if dangerous is None else dangerous,
        "probing": list(probing),
        "token": token,
        "relay": relay,
        "lease": conf.LEASE_SECONDS,
        "since": since,
        "own_transaction": session is not None or own_transaction(),
    }
    started = time.perf_counter()
    returned = _run_until_unique(parameters, session)
    rows = [ClaimedRow._make(columns) for *columns, _ in returned]
    if rows:
        seconds = time.perf_counter() - started
        signals.claimed.send_robust(sender=None, count=len(rows), seconds=seconds)
    times = [available_at for *_, available_at in returned]
    # RETURNING has no defined order.
    return Claim(token, sorted(rows, key=attrgetter("priority", "id")), _reached(rows, times))


def _reached(rows: Sequence[ClaimedRow], times: Sequence[float]) -> float:
    """The time up to which all types and priorities of the fresh events were read."""
    lanes: dict[tuple[str, int], float] = {}
    for row, available_at in zip(rows, times, strict=True):
        if row.attempts == 1 and row.batch_limit is None:
            lane = row.type, row.priority
            lanes[lane] = max(available_at, lanes.get(lane, -math.inf))
    # Rounding must leave out no event.
    return min(lanes.values(), default=math.inf) - ROUNDING_SECONDS


def _run_until_unique(
    parameters: dict[str, Any], session: psycopg.Connection[Any] | None
) -> list[tuple[Any, ...]]:
    for _ in range(TRIES):
        try:
            return _run(parameters, session)
        except IntegrityError:
            # Another cluster has just claimed another event of one of these aggregates: an event with a lower id
            # committed later, or a dead letter came back. The next try sees that event as claimed. Without it, the
            # other events of this claim would wait for the next poll.
            continue
    return []


def _run(parameters: dict[str, Any], session: psycopg.Connection[Any] | None) -> list[tuple[Any, ...]]:
    statement = CLAIM if parameters["retries"] else CLAIM_FRESH
    if session is not None:
        with connection.wrap_database_errors:
            return session.execute(statement, parameters, prepare=True).fetchall()
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
