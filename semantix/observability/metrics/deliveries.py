"""Count claims and deliveries of the cluster."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver
from django.utils import timezone
from prometheus_client import Histogram

from outbox import ClaimedEvent, signals
from semantix.observability.metrics import metrics


@receiver(signals.claimed)
def count_claim(*, count: int, seconds: float, **_: Any) -> None:
    metrics.claim_seconds.observe(seconds)
    metrics.claimed_events.inc(count)


@receiver(signals.settled)
def count_delivery(
    *, outcome: str, events: Sequence[ClaimedEvent], seconds: Sequence[float], **_: Any
) -> None:
    type = events[0].type
    metrics.attempts.labels(type, outcome).inc(len(events))
    observe_all(metrics.handler_seconds.labels(type), seconds)
    if outcome == "delivered":
        now = timezone.now()
        # Database and worker clocks may differ: a delivery before the publication counts as 0 s.
        waited = [max(0.0, (now - event.created_at).total_seconds()) for event in events]
        observe_all(metrics.delivery_seconds.labels(type), waited)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Call `observe` for all values with one write per bucket: a worker delivers thousands of events a second."""
    bounds = histogram._upper_bounds  # noqa: SLF001
    for index, count in Counter(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[index].inc(count)  # noqa: SLF001
    histogram._sum.inc(sum(values))  # noqa: SLF001
