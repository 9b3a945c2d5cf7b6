"""What runs in the workers of Semantix and of django-q2: nothing, but that it ran is noted."""

import outbox
from benchmarks.relays import starts
from outbox import ClaimedEvent

TYPE = "benchmark.published"


@outbox.handler(TYPE)
def handle(event: ClaimedEvent) -> None:
    starts.note(event.payload["number"])
