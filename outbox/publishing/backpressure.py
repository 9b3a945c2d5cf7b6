"""Backpressure: refuse new work while too many events wait, and say when there is room again.

An interactive event waits only behind other interactive events, so only they count against it. A replay or an import
of a million bulk events refuses further bulk work, but no interactive write.

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

# The partial index of open events serves it. The count stops at the limit.
DEPTH = """
SELECT count(*) FROM (SELECT FROM outbox_event WHERE status IN ('pending', 'claimed') LIMIT %(limit)s) AS open
"""
# The events that are claimed before anything less urgent. The claim's own index serves it, so that other waiting
# events cost nothing.
INTERACTIVE_DEPTH = """
SELECT count(*) FROM (
  SELECT FROM outbox_event WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL
    AND priority <= %(priority)s LIMIT %(limit)s) AS urgent
"""
# The waiting events of each group: interactive ones, and all. It reads the rows of the events, so it runs only while
# the backlog is too deep, and stops at the limit.
GROUPS = """
SELECT payload ->> %(group)s, count(*) FILTER (WHERE priority <= %(priority)s), count(*)
FROM (SELECT payload, priority FROM outbox_event WHERE status IN ('pending', 'claimed') LIMIT %(limit)s) AS open
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
        all_open = _count(cursor, DEPTH, limit)
        if all_open <= limit:
            return Measurement(now, Backlog(all_open), Backlog(all_open))
        interactive = _count(cursor, INTERACTIVE_DEPTH, limit)
        cursor.execute(DRAIN_RATE)
        drained = float(cursor.fetchone()[0])
        groups = _groups(cursor, limit) if conf.BACKLOG_GROUP else []
    took = time.monotonic() - now
    return Measurement(
        now,
        _backlog(interactive, limit, drained),
        _backlog(all_open, limit, drained),
        drained,
        {group: count for group, count, _ in groups},
        {group: count for group, _, count in groups},
        max(SECONDS, min(MAX_SECONDS, took / GROUPS_COST)),
    )


def _groups(cursor: Any, limit: int) -> list[tuple[str, int, int]]:
    parameters = {"group": conf.BACKLOG_GROUP, "limit": 2 * limit + 1, "priority": INTERACTIVE}
    cursor.execute(GROUPS, parameters)
    return list(cursor.fetchall())


def _count(cursor: Any, query: str, limit: int) -> int:
    cursor.execute(query, {"limit": 2 * limit + 1, "priority": INTERACTIVE})
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
