"""Replay: deliver events again, for a target that lost data or a handler that was extended.

A replay is a new event that copies the old one and names it in the header `replay_of`. The old row stays unchanged
with its delivery time and attempts, so that the log shows the first delivery and the repetition. Handlers converge, so
a replay is safe even after later events of the same aggregate.
"""

from collections.abc import Callable

from django.db import connection
from django.db.models import BigIntegerField, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from outbox.events import BULK
from outbox.models import Event, Status
from outbox.registry import handled_types

BATCH = 1000

# A copy of a copy names the first original. An event that was only recorded, because its type had no handler then, is
# copied like the others.
COPY = """
INSERT INTO outbox_event
    (aggregatetype, aggregateid, type, payload, headers, status, priority, attempts, last_error)
SELECT aggregatetype, aggregateid, type, payload, jsonb_build_object('replay_of', id::text) || headers,
       'pending', %(priority)s, 0, ''
FROM outbox_event WHERE id = ANY(%(ids)s) ORDER BY id
"""


def replayable(events: QuerySet[Event]) -> QuerySet[Event]:
    """The events that can be delivered again: delivered ones whose type has a handler."""
    return events.filter(status=Status.DELIVERED, type__in=handled_types())


def originals(events: QuerySet[Event]) -> QuerySet[Event]:
    """The events without the copies whose original still exists, so that a second replay does not double events."""
    of_copy = Cast(KeyTextTransform("replay_of", OuterRef("headers")), BigIntegerField())
    original = Event.objects.filter(status=Status.DELIVERED, pk=of_copy)
    return events.filter(Q(headers__replay_of__isnull=True) | ~Exists(original))


def replay(
    *, events: QuerySet[Event], on_batch: Callable[[int, int], object] = lambda count, newest: None
) -> int:
    """Publish the events again at bulk priority, oldest first, 1,000 in each transaction. Returns how many.

    `on_batch(count, newest)`: called after each transaction with the number of its events and the id of the last.
    """
    chosen = replayable(events)
    # The copies get higher ids and are not copied again.
    end = chosen.aggregate(newest=Max("pk"))["newest"] or 0
    total = newest = 0
    while ids := _next(chosen, newest, end):
        newest = ids[-1]
        with connection.cursor() as cursor:
            cursor.execute(COPY, {"ids": ids, "priority": BULK})
            copied = cursor.rowcount
        total += copied
        on_batch(copied, newest)
    return total


def _next(events: QuerySet[Event], newest: int, end: int) -> list[int]:
    part = events.filter(pk__gt=newest, pk__lte=end).order_by("pk")
    return list(part.values_list("pk", flat=True)[:BATCH])
