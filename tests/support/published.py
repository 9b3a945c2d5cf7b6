"""Publishing, claiming and looking, for tests that are about something else."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django.db import transaction

import outbox
from outbox.models import Event
from outbox.queue.claim import Claim, claim, reclaim_expired

# Types of tests.support.outbox_app, also known to the clusters that tests start.
NOTED, TOGETHER = "test.noted", "test.noted_together"


def publish(type: str = NOTED, id: str | int | None = None, **payload: Any) -> Event:
    """Commit an event; without an id its aggregate is its own."""
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
    """As if the workers had been gone for long."""
    Event.objects.filter(status="claimed").update(lease_expires_at="2000-01-01T00:00Z")


def free_what_lost_workers_held() -> None:
    """As the relay does in the end; may be claimed again at once."""
    expire_leases()
    reclaim_expired()
    let_due()


def let_due() -> None:
    """As if every backoff had passed."""
    Event.objects.filter(status="pending").update(available_at="2000-01-01T00:00Z")
