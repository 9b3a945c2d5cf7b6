"""One log line for each delivery: events, duration, and the requests and traces they come from. Never their content.

A handler call may deliver a batch; its line names all events of it. The outbox itself logs failures.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.dispatch import receiver

from outbox import ClaimedEvent, signals
from outbox.publishing import headers, traceparent

logger = logging.getLogger("semantix.delivery")


@receiver(signals.settled)
def log_delivery(*, outcome: str, events: Sequence[ClaimedEvent], seconds: Sequence[float], **_: Any) -> None:
    if outcome != "delivered" or not logger.isEnabledFor(logging.INFO):
        return
    type = events[0].type
    took = {"event_type": type, "duration_ms": round(sum(seconds) * 1000, 1)}
    if len(events) > 1:
        logger.info("delivered %d %s", len(events), type, extra=took | _of_all(events))
        return
    [event] = events
    with headers.bound(event.headers):
        about = {"event_id": event.id, "attempt": event.attempts}
        logger.info("delivered %s #%d", type, event.id, extra=took | about)


def _of_all(events: Sequence[ClaimedEvent]) -> dict[str, Any]:
    traces = (traceparent.parse(event.headers.get("traceparent")) for event in events)
    return {
        "event_ids": [event.id for event in events],
        "attempt": max(event.attempts for event in events),
        "request_ids": _distinct(event.headers.get("request_id") for event in events),
        "trace_ids": _distinct(trace and trace.trace_id for trace in traces),
    }


def _distinct(ids: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(id for id in ids if id))
