"""The handler of Semantix. It only notes that it ran."""

import outbox
from benchmarks.relays import starts
from outbox import ClaimedEvent

TYPE = "benchmark.published"


@outbox.handler(TYPE)
def handle(event: ClaimedEvent) -> None:
    starts.note(event.payload["number"])
