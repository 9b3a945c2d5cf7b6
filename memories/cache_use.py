"""How often the embedding cache had what was asked for, of all processes together: a row a minute, kept for a day.

A process counts in memory and adds to the rows when it has embedded something, a few times a minute at most. What
it counted last may wait for its next text.
"""

import logging
from collections import defaultdict
from datetime import datetime
from threading import Lock
from time import monotonic

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

logger = logging.getLogger(__name__)

WRITE_SECONDS = 10.0
# Counts that could not be written are given up beyond so many minutes.
MOST_MINUTES = 60
ADD = """
INSERT INTO embedding_cache_use AS u (minute, hits, misses)
SELECT * FROM unnest(%s::timestamptz[], %s::int[], %s::int[])
ON CONFLICT (minute) DO UPDATE SET hits = u.hits + excluded.hits, misses = u.misses + excluded.misses
"""
FORGET = "DELETE FROM embedding_cache_use WHERE minute < now() - interval '1 day'"

_lock = Lock()
_counted: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
_written_at = -WRITE_SECONDS


def note(*, hits: int, misses: int) -> None:
    """Count, in memory only."""
    minute = timezone.now().replace(second=0, microsecond=0)
    with _lock:
        counts = _counted[minute]
        counts[0] += hits
        counts[1] += misses
        while len(_counted) > MOST_MINUTES:
            del _counted[min(_counted)]


def keep() -> None:
    """Write what was counted, if it is time. Never in somebody's transaction: it would hold the minute's lock."""
    if connection.in_atomic_block:
        return
    counted = _due()
    if not counted:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(ADD, list(map(list, zip(*counted, strict=True))))
            cursor.execute(FORGET)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("How often the embedding cache was of use was not recorded: %s", error)


def _due() -> list[tuple[datetime, int, int]]:
    global _written_at
    with _lock:
        if not _counted or monotonic() < _written_at + WRITE_SECONDS:
            return []
        _written_at = monotonic()
        counted = [(minute, hits, misses) for minute, (hits, misses) in sorted(_counted.items())]
        _counted.clear()
    return counted
