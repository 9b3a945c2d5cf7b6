"""For the tests of those who use the outbox: run what is pending here and now, see what was published.

Works in a TestCase, whose test is one transaction that is rolled back, as well as in a TransactionTestCase. Only a
handler that fails by a database error needs the latter: it spoils the transaction it runs in.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db.models.functions import Now

from outbox import registry
from outbox.delivery.deliver import deliver
from outbox.models import Event, Status
from outbox.queue.claim import claim, events_of


def drain(*, rounds: int = 100, through_backoff: bool = False) -> int:
    """Deliver in this process what is due, and what that publishes; returns the number of deliveries.

    A failure is settled as in a cluster: the event waits for its backoff and stays, or is dead; look at its
    `status` and `last_error`. `through_backoff` waits for nothing, also not for events meant for later, and so
    ends with each delivered, dead, or behind an open circuit. Raises AssertionError when events still come after
    `rounds` claims of up to 200.
    """
    count = 0
    for round in range(rounds):
        if through_backoff:
            _let_due()
        # What failed in an earlier round is not tried again because its pause happens to be short.
        retries = 100 if through_backoff or round == 0 else 0
        claimed = claim(registry.handled_types(), batch=100, retries=retries)
        if not claimed.rows:
            return count
        for rows in [claimed.fresh, *([row] for row in claimed.again)]:
            deliver(claimed.token, events_of(rows))
        count += len(claimed.rows)
    raise AssertionError(f"Events still come after {rounds} rounds; does a handler publish what it handles?")


def _let_due() -> None:
    Event.objects.filter(status=Status.PENDING, available_at__gt=Now()).update(available_at=Now())


@contextmanager
def captured_events(*types: str) -> Iterator[list[Event]]:
    """The events published inside the block, of these types or of all, oldest first; filled when it ends."""
    newest = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    events: list[Event] = []
    yield events
    published = Event.objects.filter(id__gt=newest).order_by("id")
    events.extend(published.filter(type__in=types) if types else published)


@contextmanager
def handled(
    *types: str, by: Callable[..., Any], needs: Sequence[str] = (), batch: bool = False
) -> Iterator[None]:
    """Inside the block `by` handles these types, in place of their own handlers; see `outbox.handler`."""
    with ExitStack() as stack:
        for type in types:
            before = registry.put(type, registry.Handler(type, by, frozenset(needs), batch))
            stack.callback(registry.put, type, before)
        yield
