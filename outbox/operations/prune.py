"""Retention: delete events that were delivered or discarded more than OUTBOX_RETENTION_DAYS ago.

Dead letters stay until a person decides about them.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from outbox.conf import conf
from outbox.operations import schedules

BATCH = 1000
SCHEDULE = "outbox_prune"

DELIVERED = """
SELECT id, delivered_at AS since FROM outbox_event
WHERE status = 'delivered' AND delivered_at < now() - make_interval(days => %(days)s) AND delivered_at >= %(from)s
"""
# A discarded event is kept as long, counted from the time when a person discarded it.
DISCARDED = """
SELECT id, created_at AS since FROM outbox_event e
WHERE status = 'discarded' AND created_at < now() - make_interval(days => %(days)s) AND created_at >= %(from)s
  AND NOT EXISTS (SELECT FROM outbox_intervention i WHERE i.event_id = e.id
                  AND i.at >= now() - make_interval(days => %(days)s))
"""

# Small transactions hold no lock for long, delay no vacuum, and let replicas keep up. With SKIP LOCKED, two prunes, or
# a prune and a replay, do not wait for each other. `from` is the end of the last batch: without it, each batch reads
# the index entries of all rows deleted before, until a vacuum removes them.
DELETE = """
WITH old AS ({selected} ORDER BY since LIMIT %(batch)s FOR UPDATE SKIP LOCKED),
failures AS (DELETE FROM outbox_failure f USING old WHERE f.event_id = old.id),
interventions AS (DELETE FROM outbox_intervention i USING old WHERE i.event_id = old.id),
deleted AS (DELETE FROM outbox_event e USING old WHERE e.id = old.id RETURNING old.since)
SELECT count(*), max(since) FROM deleted
"""
COUNT = f"SELECT (SELECT count(*) FROM ({DELIVERED}) d) + (SELECT count(*) FROM ({DISCARDED}) g)"


OUTAGES = "DELETE FROM outbox_outage WHERE closed_at < now() - make_interval(days => %(days)s)"


def register_schedule() -> None:
    """Prune hourly in the cluster, for half a minute: enough for several hundred thousand events."""
    schedules.register_schedule(SCHEDULE, "outbox.operations.prune.prune", minutes=60, kwargs="seconds=30")


def prunable(*, days: int | None = None) -> int:
    """How many events `prune` would delete now. `days`: instead of OUTBOX_RETENTION_DAYS."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, _parameters(days))
        return int(cursor.fetchone()[0])


def prune(
    *,
    days: int | None = None,
    seconds: float | None = None,
    on_batch: Callable[[int], object] = lambda count: None,
) -> int:
    """Delete events older than `days` with their failures, and old outages. Returns how many events were deleted.

    `days`: instead of OUTBOX_RETENTION_DAYS. `seconds`: stop after about this time and leave the rest to the next run.
    `on_batch`: called after each batch with the number of its events.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    with connection.cursor() as cursor:
        cursor.execute(OUTAGES, _parameters(days))
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
