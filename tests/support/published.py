"""Short forms of publishing, claiming and reading events."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django.db import transaction

import outbox
from outbox.models import Event
from outbox.queue.claim import Claim, claim
from outbox.queue.lost import reclaim_expired

# Types of tests.support.outbox_app. The clusters that tests start know them too.
NOTED, TOGETHER = "test.noted", "test.noted_together"


def publish(type: str = NOTED, id: str | int | None = None, **payload: Any) -> Event:
    """Commit an event. `id`: that of its aggregate; by default it has an aggregate of its own."""
    with transaction.atomic():
        return outbox.publish(type, aggregate=("thing", id or uuid4().hex), payload=payload)


def publish_all(
    type: str, ids: Iterable[str | int], priority: int = outbox.INTERACTIVE, **payload: Any
) -> list[Event]:
    with transaction.atomic():
        return outbox.publish_many(
            outbox.NewEvent(
                type=type, aggregatetype="thing", aggregateid=id, payload=payload, priority=priority
            )
            for id in ids
        )


def claim_all(*types: str) -> Claim:
    return claim(types or (NOTED,), batch=1000, retries=1000)


def ids(claimed: Claim) -> list[int]:
    return [event.id for event in claimed.events]


def status_of(*events: Event) -> list[str]:
    found = dict(Event.objects.filter(id__in=[event.id for event in events]).values_list("id", "status"))
    return [found[event.id] for event in events]


def expire_leases() -> None:
    """Let every lease expire, as if the workers had died long ago."""
    Event.objects.filter(status="claimed").update(lease_expires_at="2000-01-01T00:00Z")


def free_events_of_lost_workers() -> None:
    """Free all claimed events, as the relay does, and skip their backoff."""
    expire_leases()
    reclaim_expired()
    make_due()


def make_due() -> None:
    """Skip every backoff."""
    Event.objects.filter(status="pending").update(available_at="2000-01-01T00:00Z")
