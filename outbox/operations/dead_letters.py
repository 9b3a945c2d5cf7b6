"""What a person decides about events that do not go on by themselves: try again, or give up.

Each takes a queryset, so that a command and the admin select as they like, and returns exactly how many events
it changed: those that are in another status by then are left alone. Who did it and why is kept beside the
event (`Intervention`), and its failures stay as they are.
"""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from outbox.models import Event, Intervention, Status
from outbox.queue.ordering import unblock_next

BATCH = 1000

RETRYABLE = (Status.DEAD, Status.DISCARDED)
# What a worker has in hand it finishes.
DISCARDABLE = (Status.DEAD, Status.PENDING)

# A statement a batch. The rows are locked in the order of their ids, so that two operators do not deadlock, and
# their status is looked at again under the lock, so that no event is counted by both.
CHANGE = """
WITH locked AS (
    SELECT id FROM outbox_event WHERE id = ANY(%(ids)s) AND status = ANY(%(from)s) ORDER BY id FOR NO KEY UPDATE
), changed AS (
    UPDATE outbox_event e SET {assignments} FROM locked WHERE e.id = locked.id RETURNING e.id
)
INSERT INTO outbox_intervention (event_id, action, by, reason)
SELECT id, %(action)s, %(by)s, %(reason)s FROM changed
"""
RETRY = CHANGE.format(
    assignments="status = 'pending', attempts = 0, available_at = now(), parked_until = NULL"
)
DISCARD = CHANGE.format(assignments="status = 'discarded'")


def retry(*, events: QuerySet[Event], by: str, reason: str = "") -> int:
    """Put dead events, or discarded ones, back to waiting, with all attempts before them again."""
    action = {"from": list(RETRYABLE), "action": Intervention.Action.RETRIED, "by": by, "reason": reason}
    return _change(events.filter(status__in=RETRYABLE), RETRY, action)


def discard(*, events: QuerySet[Event], by: str, reason: str) -> int:
    """Give up on dead events, or on waiting ones: they are never delivered. `retry` takes it back."""
    action = {"from": list(DISCARDABLE), "action": Intervention.Action.DISCARDED, "by": by, "reason": reason}
    return _change(events.filter(status__in=DISCARDABLE), DISCARD, action)


def _change(events: QuerySet[Event], sql: str, action: Mapping[str, Any]) -> int:
    count, newest = 0, 0
    while ids := _next(events, newest):
        newest = ids[-1]
        with connection.cursor() as cursor:
            cursor.execute(sql, {**action, "ids": ids})
            count += cursor.rowcount
        unblock_next(ids)
    return count


def _next(events: QuerySet[Event], newest: int) -> list[int]:
    return list(events.filter(pk__gt=newest).order_by("pk").values_list("pk", flat=True)[:BATCH])
