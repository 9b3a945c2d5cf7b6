"""Backpressure: how much waits to be delivered, and how long until there is room again.

What is urgent waits only for what is as urgent: a replay or an import of a million events holds back further bulk
work, and refuses no interactive write. Looked at now and then, not at each request: for SECONDS a process goes by what
it saw last.
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

# Over the partial index of open events, and no further than has to be known.
DEPTH = """
SELECT count(*) FROM (SELECT FROM outbox_event WHERE status IN ('pending', 'claimed') LIMIT %(limit)s) AS open
"""
# Those that are claimed before anything less urgent; in the index of what is ready, whatever else is in there.
URGENT = """
SELECT count(*) FROM (
  SELECT FROM outbox_event WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL
    AND priority <= %(priority)s LIMIT %(limit)s) AS urgent
"""
# Events a second. Those with no attempt are only recorded.
DRAINED = """
SELECT count(*) / 10.0 FROM outbox_event
WHERE status = 'delivered' AND delivered_at > now() - interval '10 seconds' AND attempts > 0
"""


class Wait(NamedTuple):
    """How many events are ahead; `retry_after` in seconds, None while there is room."""

    depth: int
    retry_after: int | None = None


@dataclass(frozen=True)
class Look:
    """What was seen: of what is urgent, and of everything."""

    at: float
    interactive: Wait
    bulk: Wait


NOT_YET = Look(-math.inf, Wait(0), Wait(0))

_last = NOT_YET
_looking = Lock()


def refuse_if_too_deep(priority: int = INTERACTIVE) -> None:
    """Raises BacklogTooDeep when more than OUTBOX_MAX_BACKLOG events go before one of this priority.

    Costs a look at the clock, mostly.
    """
    if not conf.MAX_BACKLOG:
        return
    look = _recent()
    ahead = look.interactive if priority <= INTERACTIVE else look.bulk
    if ahead.retry_after is not None:
        raise BacklogTooDeep(ahead.depth, conf.MAX_BACKLOG, retry_after=ahead.retry_after)


def forget() -> None:
    """Look again at the next request."""
    global _last
    _last = NOT_YET


def _recent() -> Look:
    global _last
    if time.monotonic() - _last.at > SECONDS and _looking.acquire(blocking=False):
        try:
            _last = _look(conf.MAX_BACKLOG)
        finally:
            _looking.release()
    return _last


def _look(most: int) -> Look:
    now = time.monotonic()
    with connection.cursor() as cursor:
        everything = _count(cursor, DEPTH, most)
        if everything <= most:
            return Look(now, Wait(everything), Wait(everything))
        urgent = _count(cursor, URGENT, most)
        cursor.execute(DRAINED)
        drained = float(cursor.fetchone()[0])
    return Look(now, _wait(urgent, most, drained), _wait(everything, most, drained))


def _count(cursor: Any, query: str, most: int) -> int:
    cursor.execute(query, {"limit": 2 * most + 1, "priority": INTERACTIVE})
    return int(cursor.fetchone()[0])


def _wait(depth: int, most: int, drained_per_second: float) -> Wait:
    if depth <= most:
        return Wait(depth)
    return Wait(depth, _retry_after(depth - most, most, drained_per_second))


def _retry_after(excess: int, most: int, drained_per_second: float) -> int:
    """Until a twentieth of the room is free, so that not everybody is let in at once for one place."""
    if not drained_per_second:
        return LONGEST
    return min(LONGEST, max(SHORTEST, math.ceil((excess + most / 20) / drained_per_second)))
