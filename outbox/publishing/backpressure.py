"""Backpressure: refuse new work while too many events wait, and say when there is room again.

An interactive event waits only behind other interactive events, so only they count against it. A replay or an import
of a million bulk events refuses further bulk work, but no interactive write. A process counts the events at most once
in SECONDS and uses that count for every request until then.
"""

import math
import time
from dataclasses import dataclass
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
    """The backlog ahead of an interactive and of a bulk event, and when it was counted (time.monotonic())."""

    at: float
    interactive: Backlog
    bulk: Backlog


NEVER = Measurement(-math.inf, Backlog(0), Backlog(0))

_last = NEVER
_measuring = Lock()


def refuse_if_too_deep(priority: int = INTERACTIVE) -> None:
    """Raise BacklogTooDeep if more than OUTBOX_MAX_BACKLOG events are ahead of an event of this priority.

    Most calls only read the clock: see SECONDS.
    """
    if not conf.MAX_BACKLOG:
        return
    measurement = _recent()
    ahead = measurement.interactive if priority <= INTERACTIVE else measurement.bulk
    if ahead.retry_after is not None:
        raise BacklogTooDeep(ahead.depth, conf.MAX_BACKLOG, retry_after=ahead.retry_after)


def forget() -> None:
    """Count again at the next request."""
    global _last
    _last = NEVER


def _recent() -> Measurement:
    global _last
    if time.monotonic() - _last.at > SECONDS and _measuring.acquire(blocking=False):
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
    return Measurement(now, _backlog(interactive, limit, drained), _backlog(all_open, limit, drained))


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
