"""Replay: delivering again what was delivered before, for a target that lost it or a handler that learnt more.

A replay is a new event that copies the old one and names it in the header `replay_of`. The old row stays as it
was, with when and after how many attempts it was delivered: the log tells what happened then, and that it was
repeated. Handlers converge, so repeating is safe, also after events of the same aggregate that came later.
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

# A copy of a copy names the first original. What nobody tried before (recorded only, because its type had no
# handler then) is copied like the others.
COPY = """
INSERT INTO outbox_event
    (aggregatetype, aggregateid, type, payload, headers, status, priority, attempts, last_error)
SELECT aggregatetype, aggregateid, type, payload, jsonb_build_object('replay_of', id::text) || headers,
       'pending', %(priority)s, 0, ''
FROM outbox_event WHERE id = ANY(%(ids)s) ORDER BY id
"""


def replayable(events: QuerySet[Event]) -> QuerySet[Event]:
    """Those of the events that can be delivered again: delivered, and of a type that has a handler."""
    return events.filter(status=Status.DELIVERED, type__in=handled_types())


def originals(events: QuerySet[Event]) -> QuerySet[Event]:
    """Leaves out copies whose original is still there, so that replaying a day twice does not double it."""
    of_copy = Cast(KeyTextTransform("replay_of", OuterRef("headers")), BigIntegerField())
    original = Event.objects.filter(status=Status.DELIVERED, pk=of_copy)
    return events.filter(Q(headers__replay_of__isnull=True) | ~Exists(original))


def replay(
    *, events: QuerySet[Event], on_batch: Callable[[int, int], object] = lambda count, newest: None
) -> int:
    """Publish the events again at bulk priority, oldest first, 1,000 a transaction; returns how many.

    `on_batch(count, newest)` is told after each: how many it were, and the id of the last.
    """
    chosen = replayable(events)
    # Its own copies come after this.
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
