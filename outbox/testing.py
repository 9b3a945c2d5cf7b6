"""Test helpers for projects that use the outbox: deliver pending events in the test's process, and capture events.

They work in a TestCase, where a test is one transaction that is rolled back, and in a TransactionTestCase. A handler
that fails with a database error needs a TransactionTestCase, because the error breaks the test's transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db.models.functions import Now

from outbox import registry
from outbox.delivery.deliver import deliver
from outbox.models import Event, Status, open_events
from outbox.queue.claim import claim


def drain(*, rounds: int = 100, through_backoff: bool = False) -> int:
    """Deliver the due events in this process, and the events that their handlers publish.

    Returns the number of deliveries. A failure is settled as in a cluster: the event waits for its backoff, or it
    is dead; see its `status` and `last_error`. `through_backoff` skips every backoff and every `available_at`, so
    that each event ends delivered, dead, or behind an open circuit.

    Raises AssertionError if there are still events after `rounds` claims of up to 200 events.
    """
    count = 0
    for round in range(rounds):
        if through_backoff:
            _make_all_due()
        # An event that failed in an earlier round is not retried here, even if its backoff was short.
        retries = 100 if through_backoff or round == 0 else 0
        claimed = claim(registry.handled_types(), batch=100, retries=retries)
        if not claimed.rows:
            return count
        for rows in [claimed.fresh, *([row] for row in (*claimed.retries, *claimed.suspects))]:
            deliver(claimed.token, [row.event() for row in rows])
        count += len(claimed.rows)
    left = ", ".join(sorted(set(open_events().values_list("type", flat=True))))
    raise AssertionError(
        f"There are still events after {rounds} rounds: {left}. Does a handler publish the type that it handles?"
    )


def _make_all_due() -> None:
    Event.objects.filter(status=Status.PENDING, available_at__gt=Now()).update(available_at=Now())


@contextmanager
def captured_events(*types: str) -> Iterator[list[Event]]:
    """The events published inside the block, oldest first; the list is filled when the block ends.

    `types`: only events of these types.
    """
    newest = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    events: list[Event] = []
    yield events
    published = Event.objects.filter(id__gt=newest).order_by("id")
    events.extend(published.filter(type__in=types) if types else published)


@contextmanager
def handled(
    *types: str, by: Callable[..., Any], needs: Sequence[str] = (), batch: bool = False
) -> Iterator[None]:
    """Inside the block, `by` replaces the handlers of these types. The arguments are those of `outbox.handler`."""
    with ExitStack() as stack:
        for type in types:
            former = registry.put(type, registry.Handler(type, by, frozenset(needs), batch))
            stack.callback(registry.put, type, former)
        yield
