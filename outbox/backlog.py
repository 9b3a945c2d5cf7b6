"""Backpressure: how much waits to be delivered, and how long until there is room again.

Looked at now and then, not at each request: for SECONDS a process goes by what it saw last.
"""

import math
import time
from dataclasses import dataclass
from threading import Lock

from django.db import connection

from outbox.conf import conf
from outbox.exceptions import BacklogTooDeep

SECONDS = 2.0
SHORTEST, LONGEST = 1, 300

# Over the partial index of open events, and no further than has to be known.
DEPTH = """
SELECT count(*) FROM (SELECT FROM outbox_event WHERE status IN ('pending', 'claimed') LIMIT %(limit)s) AS open
"""
# Events a second. Those with no attempt are only recorded.
DRAINED = """
SELECT count(*) / 10.0 FROM outbox_event
WHERE status = 'delivered' AND delivered_at > now() - interval '10 seconds' AND attempts > 0
"""


@dataclass(frozen=True)
class Look:
    """What was seen; `retry_after` in seconds, None while there is room."""

    at: float
    depth: int
    retry_after: int | None


_last = Look(-math.inf, 0, None)
_looking = Lock()


def refuse_if_too_deep() -> None:
    """Raises BacklogTooDeep when more than OUTBOX_MAX_BACKLOG events wait; costs a look at the clock, mostly."""
    if not conf.MAX_BACKLOG:
        return
    look = _recent()
    if look.retry_after is not None:
        raise BacklogTooDeep(look.depth, conf.MAX_BACKLOG, retry_after=look.retry_after)


def forget() -> None:
    """Look again at the next request."""
    global _last
    _last = Look(-math.inf, 0, None)


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
        cursor.execute(DEPTH, {"limit": 2 * most + 1})
        depth = int(cursor.fetchone()[0])
        if depth <= most:
            return Look(now, depth, None)
        cursor.execute(DRAINED)
        return Look(now, depth, _retry_after(depth - most, most, float(cursor.fetchone()[0])))


def _retry_after(excess: int, most: int, drained_per_second: float) -> int:
    """Until a twentieth of the room is free, so that not everybody is let in at once for one place."""
    if not drained_per_second:
        return LONGEST
    return min(LONGEST, max(SHORTEST, math.ceil((excess + most / 20) / drained_per_second)))
