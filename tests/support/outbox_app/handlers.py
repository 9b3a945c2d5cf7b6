import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import outbox
from outbox import ClaimedEvent
from tests.support.outbox_app.models import Away, Effect, Target

outbox.declare("test.recorded")


@outbox.handler("test.noted")
def note(event: ClaimedEvent) -> None:
    _note([event])


@outbox.handler("test.noted_together", batch=True)
def note_together(events: Sequence[ClaimedEvent]) -> None:
    _note(events)


@outbox.handler("test.waited_for")
def wait(event: ClaimedEvent) -> None:
    """Take until the file that the payload names is there."""
    _note([event])
    while not Path(event.payload["file"]).exists():
        time.sleep(0.01)


@outbox.handler("test.slow")
def note_slowly(event: ClaimedEvent) -> None:
    """Work of two milliseconds."""
    time.sleep(0.002)
    _note([event])


@outbox.handler("test.deadly", batch=True)
def kill_the_worker(events: Sequence[ClaimedEvent]) -> None:
    """As the kernel does when memory runs out."""
    if any(event.payload.get("kill") for event in events):
        os.kill(os.getpid(), signal.SIGKILL)
    _note(events)


@outbox.handler("test.poisoned")
def misbehave(event: ClaimedEvent) -> None:
    """Kill the worker, fail or hang, as the payload says."""
    if event.payload.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if event.payload.get("fail"):
        raise ValueError("as the payload says")
    while event.payload.get("hang"):
        time.sleep(1)
    _note([event])


@outbox.handler("test.baked", "test.toasted", needs=["oven"])
def bake(event: ClaimedEvent) -> None:
    if Away.objects.filter(dependency="oven").exists():
        raise outbox.Unavailable("oven", "it is cold")
    _note([event])


@outbox.handler("test.copied")
def copy(event: ClaimedEvent) -> None:
    """Converges: the target is set, not counted up."""
    Target.objects.update_or_create(key=event.aggregateid, defaults={"version": event.payload["version"]})
    _note([event])


def _note(events: Sequence[ClaimedEvent]) -> None:
    Effect.objects.bulk_create(
        Effect(event=event.id, aggregateid=event.aggregateid, worker=os.getpid(), together=len(events))
        for event in events
    )
