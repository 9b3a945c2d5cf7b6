"""Retention: delivered events older than OUTBOX_RETENTION_DAYS are deleted, and what was discarded as long ago.

Dead letters stay until a person decides about them.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from outbox.conf import conf

BATCH = 1000

DELIVERED = """
SELECT id, delivered_at AS since FROM outbox_event
WHERE status = 'delivered' AND delivered_at < now() - make_interval(days => %(days)s) AND delivered_at >= %(from)s
"""
# A discarded event is kept as long, from when somebody gave it up.
DISCARDED = """
SELECT id, created_at AS since FROM outbox_event e
WHERE status = 'discarded' AND created_at < now() - make_interval(days => %(days)s) AND created_at >= %(from)s
  AND NOT EXISTS (SELECT FROM outbox_intervention i WHERE i.event_id = e.id
                  AND i.at >= now() - make_interval(days => %(days)s))
"""

# Small transactions: no vacuum waits for them, no replica falls behind, no lock is held for long. SKIP LOCKED
# lets two prunes, or a prune and a replay, pass each other. `from` is where the last batch ended: without it
# each would step over the index entries of all rows deleted before, until a vacuum came.
DELETE = """
WITH old AS ({selected} ORDER BY since LIMIT %(batch)s FOR UPDATE SKIP LOCKED),
failures AS (DELETE FROM outbox_failure f USING old WHERE f.event_id = old.id),
interventions AS (DELETE FROM outbox_intervention i USING old WHERE i.event_id = old.id),
deleted AS (DELETE FROM outbox_event e USING old WHERE e.id = old.id RETURNING old.since)
SELECT count(*), max(since) FROM deleted
"""
COUNT = f"SELECT (SELECT count(*) FROM ({DELIVERED}) d) + (SELECT count(*) FROM ({DISCARDED}) g)"


OUTAGES = "DELETE FROM outbox_outage WHERE closed_at < now() - make_interval(days => %(days)s)"


def prunable(*, days: int | None = None) -> int:
    """How many events `prune` would delete now."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, _parameters(days))
        return int(cursor.fetchone()[0])


def prune(
    *,
    days: int | None = None,
    seconds: float | None = None,
    on_batch: Callable[[int], object] = lambda count: None,
) -> int:
    """Delete what is older than `days` (OUTBOX_RETENTION_DAYS), with its failures; returns how many events.

    Stops after about `seconds`, when given; the rest is the next run's. `on_batch` is told each batch's number.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute(OUTAGES, _parameters(days))  # few, and no event
    total = 0
    for selected in (DELIVERED, DISCARDED):
        parameters = _parameters(days)
        while deadline is None or time.monotonic() < deadline:
            count, newest = _delete(selected, parameters)
            if not count:
                break
            parameters["from"] = newest
            total += count
            on_batch(count)
    return total


def _parameters(days: int | None) -> dict[str, Any]:
    return {"days": conf.RETENTION_DAYS if days is None else days, "from": "-infinity", "batch": BATCH}


def _delete(selected: str, parameters: dict[str, Any]) -> tuple[int, datetime | None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DELETE.format(selected=selected), parameters)
        count, newest = cursor.fetchone()
        return count, newest
