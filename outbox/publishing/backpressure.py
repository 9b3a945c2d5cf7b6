"""Backpressure: refuse new work while too many events wait, and say when there is room again.

An interactive event waits only behind other interactive events, so only they count against it. A replay or an import
of a million bulk events refuses further bulk work, but no interactive write. Events for later (`available_at`) do not
count before they are due.

With OUTBOX_BACKLOG_GROUP the groups (customers, tenants) share the backlog: while it is too deep, only the groups with
more than their share are refused. The share is the limit divided by the groups that wait, so that the backlog is never
deeper than twice the limit by their doing.

A process counts the events at most once in SECONDS and uses that count for every request until then.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

from django.db import connection

from outbox.conf import conf
from outbox.events import INTERACTIVE
from outbox.exceptions import BacklogTooDeep

SECONDS = 2.0
SHORTEST, LONGEST = 1, 300
# No event has a lower priority: a number above that of every event.
LOWEST = 32_767

# An upper bound of the depth: it also counts events for later. The partial index of open events serves it, and the
# count stops at the limit. In most cases it is below the limit, and nothing else is counted.
OPEN = """
SELECT count(*) FROM (SELECT FROM outbox_event WHERE status IN ('pending', 'claimed') LIMIT %(limit)s) AS open
"""
# The due events up to a priority. The claim's index orders the fresh events by type, priority and time, so the due ones
# of each type and priority are one range of it, however many events are for later. The recursion finds these pairs: it
# skips from one to the next. `others` counts the events that the claim does not read in this order: claimed, parked,
# failed before (their next try is a backoff, not a time that somebody chose) or suspect.
DUE = """
WITH RECURSIVE lane AS (
    (SELECT type, priority FROM outbox_event
     WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL AND batch_limit IS NULL
     ORDER BY type, priority LIMIT 1)
  UNION ALL
    SELECT following.* FROM lane CROSS JOIN LATERAL (
        SELECT type, priority FROM outbox_event
        WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL AND batch_limit IS NULL
          AND (type, priority) > (lane.type, lane.priority)
        ORDER BY type, priority LIMIT 1) AS following
), fresh AS (
    SELECT count(*) FROM (
        SELECT FROM lane CROSS JOIN LATERAL (
            SELECT FROM outbox_event e
            WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL AND batch_limit IS NULL
              AND e.type = lane.type AND e.priority = lane.priority AND available_at <= statement_timestamp()
            LIMIT %(limit)s) AS due
        WHERE lane.priority <= %(priority)s LIMIT %(limit)s) AS counted
), others AS (
    SELECT count(*) FROM (
        SELECT FROM outbox_event WHERE status = 'claimed' AND priority <= %(priority)s
      UNION ALL
        SELECT FROM outbox_event WHERE parked_until IS NOT NULL AND status = 'pending' AND priority <= %(priority)s
      UNION ALL
        SELECT FROM outbox_event WHERE status = 'pending' AND attempts > 0 AND batch_limit IS NULL
          AND priority <= %(priority)s
      UNION ALL
        SELECT FROM outbox_event WHERE status = 'pending' AND batch_limit IS NOT NULL AND priority <= %(priority)s
      LIMIT %(limit)s) AS counted
)
SELECT fresh.count + others.count FROM fresh, others
"""
# The due events of each group: interactive ones, and all. It reads the rows of the events, so it runs only while
# the backlog is too deep, and stops at the limit.
GROUPS = """
SELECT payload ->> %(group)s, count(*) FILTER (WHERE priority <= %(priority)s), count(*)
FROM (SELECT payload, priority FROM outbox_event WHERE status IN ('pending', 'claimed')
        AND (status = 'claimed' OR attempts > 0 OR available_at <= statement_timestamp()) LIMIT %(limit)s) AS due
WHERE payload ->> %(group)s IS NOT NULL GROUP BY 1
"""
# Counting the groups takes at most this part of the time, unless it takes longer than this part of MAX_SECONDS.
GROUPS_COST = 0.05
MAX_SECONDS = 10.0
# Events a second. Recorded events have no attempt and do not count.
DRAIN_RATE = """
SELECT count(*) / 10.0 FROM outbox_event
WHERE status = 'delivered' AND delivered_at > now() - interval '10 seconds' AND attempts > 0
"""


class Backlog(NamedTuple):
    """How many events are ahead. `retry_after`: seconds until there is room, None while there is room."""

    depth: int
    retry_after: int | None = None


@dataclass(frozen=True)
class Measurement:
    """The backlog ahead of an interactive and of a bulk event, and of those of each group.

    `at`: when it was counted (time.monotonic()). `seconds`: for how long it is used.
    """

    at: float
    interactive: Backlog
    bulk: Backlog
    drained_per_second: float = 0.0
    interactive_of: Mapping[str, int] = field(default_factory=dict)
    bulk_of: Mapping[str, int] = field(default_factory=dict)
    seconds: float = SECONDS


NEVER = Measurement(-math.inf, Backlog(0), Backlog(0))

_last = NEVER
_measuring = Lock()


def refuse_if_too_deep(priority: int = INTERACTIVE, *, group: str | None = None) -> None:
    """Raise BacklogTooDeep if more than OUTBOX_MAX_BACKLOG events are ahead of an event of this priority.

    `group`: the value of the payload's key OUTBOX_BACKLOG_GROUP in the caller's events. A group is refused only if it
    has more than its share of the backlog. Most calls only read the clock: see SECONDS.
    """
    if not conf.MAX_BACKLOG:
        return
    measurement = _recent()
    interactive = priority <= INTERACTIVE
    ahead = measurement.interactive if interactive else measurement.bulk
    if ahead.retry_after is None:
        return
    if group is None or not conf.BACKLOG_GROUP:
        raise BacklogTooDeep(ahead.depth, conf.MAX_BACKLOG, retry_after=ahead.retry_after)
    counts = measurement.interactive_of if interactive else measurement.bulk_of
    _refuse_group(group, counts, measurement.drained_per_second)


def _refuse_group(group: str, counts: Mapping[str, int], drained_per_second: float) -> None:
    share = max(1, conf.MAX_BACKLOG // len({*counts, group}))
    own = counts.get(group, 0)
    if own > share:
        retry_after = _retry_after(own - share, share, drained_per_second)
        raise BacklogTooDeep(own, share, retry_after=retry_after, is_share=True)


def forget() -> None:
    """Count again at the next request."""
    global _last
    _last = NEVER


def _recent() -> Measurement:
    global _last
    if time.monotonic() - _last.at > _last.seconds and _measuring.acquire(blocking=False):
        try:
            _last = _measure(conf.MAX_BACKLOG)
        finally:
            _measuring.release()
    return _last


def _measure(limit: int) -> Measurement:
    now = time.monotonic()
    with connection.cursor() as cursor:
        depth = _count(cursor, OPEN, limit)
        if depth > limit:
            depth = _count(cursor, DUE, limit)
        if depth <= limit:
            return Measurement(now, Backlog(depth), Backlog(depth))
        interactive = _count(cursor, DUE, limit, priority=INTERACTIVE)
        cursor.execute(DRAIN_RATE)
        drained = float(cursor.fetchone()[0])
        groups = _groups(cursor, limit) if conf.BACKLOG_GROUP else []
    took = time.monotonic() - now
    return Measurement(
        now,
        _backlog(interactive, limit, drained),
        _backlog(depth, limit, drained),
        drained,
        {group: count for group, count, _ in groups},
        {group: count for group, _, count in groups},
        max(SECONDS, min(MAX_SECONDS, took / GROUPS_COST)),
    )


def _groups(cursor: Any, limit: int) -> list[tuple[str, int, int]]:
    parameters = {"group": conf.BACKLOG_GROUP, "limit": 2 * limit + 1, "priority": INTERACTIVE}
    cursor.execute(GROUPS, parameters)
    return list(cursor.fetchall())


def _count(cursor: Any, query: str, limit: int, priority: int = LOWEST) -> int:
    cursor.execute(query, {"limit": 2 * limit + 1, "priority": priority})
    return int(cursor.fetchone()[0])


def _backlog(depth: int, limit: int, drained_per_second: float) -> Backlog:
    if depth <= limit:
        return Backlog(depth)
    return Backlog(depth, _retry_after(depth - limit, limit, drained_per_second))


def _retry_after(excess: int, limit: int, drained_per_second: float) -> int:
    """Seconds until a twentieth of the limit is free, so that not every client returns for a single free place."""
    if not drained_per_second:
        return LONGEST
    return min(LONGEST, max(SHORTEST, math.ceil((excess + limit / 20) / drained_per_second)))
