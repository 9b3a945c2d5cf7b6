"""Running an erasure: step by step, resumable at every page, and verified at the end."""

import time
from collections.abc import Callable
from math import inf

from django.db import transaction
from django.db.models.functions import Now

from memories.conversations.buffers.redis_client import RedisAway
from memories.erasure import index, steps
from memories.erasure.request import INDEX, REQUESTED, publish
from memories.index import generations
from memories.index.collections import CollectionLost
from memories.models import Erasure
from outbox import Unavailable

# The seconds of one share of the work. The next one comes after a pause that is as long, so that an erasure takes half
# of a worker's time at most, and of the stores' less. Where others keep the machine busy a share takes longer, and so
# does the pause. Longer shares would hold up the events that wait for the worker.
SHARE_SECONDS = 0.5
# Redis is tried again after so many seconds.
REDIS_SECONDS = 15.0
# What comes back while an erasure runs (a worker that was paused amid a write) is erased by another round.
ROUNDS = 5

Status = Erasure.Status


def in_postgres(erasure_id: int) -> None:
    """An event's share of the steps in PostgreSQL; publishes the event that goes on."""
    started = time.monotonic()
    erasure = run_steps(erasure_id, seconds=SHARE_SECONDS)
    if erasure is not None:
        pause = time.monotonic() - started if erasure.step else 0.0
        with transaction.atomic():
            publish(erasure, REQUESTED if erasure.step else INDEX, delay_seconds=pause)


def in_index(erasure_id: int) -> None:
    """An event's share of the removal from Chroma, or the verification; publishes the event that goes on, if any.

    Raises Unavailable.
    """
    started = time.monotonic()
    try:
        erasure = finish(erasure_id, seconds=SHARE_SECONDS)
    except Unavailable as away:
        Erasure.objects.filter(pk=erasure_id).update(waits_for=str(away))
        raise
    if erasure is not None and erasure.status == Status.RUNNING:
        _publish_next(erasure, spent=time.monotonic() - started)


def _publish_next(erasure: Erasure, *, spent: float) -> None:
    """A new round where the verification found something; else the removal from Chroma is not complete."""
    is_round = bool(erasure.step)
    waits = REDIS_SECONDS if erasure.waits_for else 0.0
    with transaction.atomic():
        publish(erasure, REQUESTED if is_round else INDEX, delay_seconds=waits if is_round else spent)


def to_the_end(erasure_id: int) -> None:
    """Run it in this process, in the same shares, together with a cluster that may run it, too.

    Returns when it is over, or waits for Redis. Raises Unavailable.
    """
    while True:
        started = time.monotonic()
        erasure = run_steps(erasure_id, seconds=SHARE_SECONDS)
        if erasure is None or not erasure.step:
            erasure = finish(erasure_id, seconds=SHARE_SECONDS)
            if erasure is None or erasure.status != Status.RUNNING or (erasure.step and erasure.waits_for):
                return
        time.sleep(time.monotonic() - started)


def run_steps(erasure_id: int, *, seconds: float = inf) -> Erasure | None:
    """Run pages of the steps for about so many seconds.

    Returns the receipt: `step` is empty when all steps are complete. None when there is nothing to run.
    """
    deadline = time.monotonic() + seconds
    while True:
        erasure = _page(erasure_id)
        if erasure is None or not erasure.step or time.monotonic() > deadline:
            return erasure


def _page(erasure_id: int) -> Erasure | None:
    try:
        return _locked(erasure_id, _run_page)
    except RedisAway as away:
        reason = str(away)
        return _locked(erasure_id, lambda erasure: _go_on_without_redis(erasure, reason))


def _locked(erasure_id: int, work: Callable[[Erasure], None]) -> Erasure | None:
    """Do some work under the receipt's lock and save what it changed; None when the erasure is over or unknown."""
    with transaction.atomic():
        erasure = Erasure.objects.select_for_update().filter(pk=erasure_id).first()
        if erasure is None or erasure.status in (Status.DONE, Status.FAILED):
            return None
        if erasure.began_at is None:
            steps.begin(erasure)
            erasure.refresh_from_db()
        work(erasure)
        erasure.save()
    return erasure


def _run_page(erasure: Erasure) -> None:
    if erasure.step and steps.STEPS[erasure.step](erasure):
        erasure.step, erasure.position = steps.next_step(erasure.step), {}
        if not erasure.step and erasure.through_collection is None:
            erasure.through_collection = generations.newest_id()


def _go_on_without_redis(erasure: Erasure, reason: str) -> None:
    """The other stores are erased meanwhile; the verification finds the conversations, and a new round begins."""
    erasure.waits_for = reason
    if erasure.step == "conversations":
        erasure.step = steps.next_step(erasure.step)


def finish(erasure_id: int, *, seconds: float = inf) -> Erasure | None:
    """Remove it from the index, then ask every store again, for about so many seconds. Raises Unavailable.

    Returns the receipt. Its status is running where another round is needed, which `step` begins, and where the removal
    or the asking is not complete.
    """
    erasure = Erasure.objects.filter(pk=erasure_id).first()
    if erasure is None or erasure.status in (Status.DONE, Status.FAILED):
        return erasure
    try:
        return _finish(erasure, seconds=seconds)
    except CollectionLost as lost:
        if generations.is_live(lost.generation):
            raise
        # Another erasure or a rebuild has replaced it meanwhile. Its successor is next.
        return erasure


def _finish(erasure: Erasure, *, seconds: float) -> Erasure | None:
    deadline = time.monotonic() + seconds
    removed, complete = index.remove(erasure, seconds=seconds)
    if removed:
        index.note_freed_pages()
    complete = complete and steps.ask_events(erasure, deadline)
    found = {"postgresql": steps.left(erasure), "chroma": index.left(erasure)} if complete else {}
    complete = complete and not index.has_retired(erasure)
    position = erasure.position

    def save(erasure: Erasure) -> None:
        steps.count(erasure, "chroma", documents=removed)
        if complete:
            _conclude(erasure, {store: number for store, number in found.items() if number})
        else:
            erasure.position = position

    return _locked(erasure.pk, save)


def _conclude(erasure: Erasure, found: dict[str, object]) -> None:
    erasure.found, erasure.verified = found, not found
    if not found:
        erasure.status, erasure.finished_at, erasure.waits_for = Status.DONE, Now(), ""
    elif erasure.rounds >= ROUNDS and not erasure.waits_for:
        erasure.status, erasure.finished_at = Status.FAILED, Now()
    else:
        erasure.step, erasure.position = next(iter(steps.STEPS)), {}
        if "chroma" in found:
            erasure.through_collection = None
        # A round that only waited for Redis is not counted.
        erasure.rounds += not erasure.waits_for
