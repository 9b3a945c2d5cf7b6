"""A person's decisions about events: retry them, or discard them.

Each function takes a queryset, so that a command and the admin can select events as they need. It changes only events
that still have an eligible status, and returns exactly how many it changed. `Intervention` records who did it and
why. The event's failures stay.
"""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from outbox.models import Event, Intervention, Status
from outbox.queue.ordering import unblock_next

BATCH = 1000

RETRYABLE = (Status.DEAD, Status.DISCARDED)
# Not a claimed event: its worker settles it.
DISCARDABLE = (Status.DEAD, Status.PENDING)

# One statement for each batch. It locks the rows in the order of their ids, so that two operators do not deadlock, and
# it checks the status under the lock, so that only one of them counts an event.
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
    """Let dead or discarded events wait for delivery again, with no attempt counted.

    `by`: who asked for it. `reason`: kept with each event. Returns how many events were changed.
    """
    action = {"from": list(RETRYABLE), "action": Intervention.Action.RETRIED, "by": by, "reason": reason}
    return _change(events.filter(status__in=RETRYABLE), RETRY, action)


def discard(*, events: QuerySet[Event], by: str, reason: str) -> int:
    """Give up dead or waiting events: they are not delivered. `retry` reverses it.

    `by`: who asked for it. `reason`: kept with each event. Returns how many events were changed.
    """
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
