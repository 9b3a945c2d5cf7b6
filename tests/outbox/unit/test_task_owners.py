"""What a killed worker had in hand is known, and what a living one has is its own."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from outbox.cluster import task_owners
from outbox.cluster.ipc import Queue

forking = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_owners, "_owners", None)
    monkeypatch.setattr(task_owners, "_next", None)
    monkeypatch.setattr(task_owners, "_assigned", {})
    task_owners.share()


@contextmanager
def worker(number: int) -> Iterator[multiprocessing.Process]:
    """One that has this task in hand."""
    began = Queue()

    def work() -> None:
        with task_owners.running(number):
            began.put(True)
            signal.pause()

    running = forking.Process(target=work)
    running.start()
    assert began.get()
    try:
        yield running  # type: ignore[misc]
    finally:
        running.kill()
        running.join()


def test_what_a_worker_was_killed_with_is_told_once() -> None:
    token = uuid4()
    number = task_owners.assign(token, [1, 2])
    with worker(number) as killed:
        assert task_owners.abandoned() == []
        killed.kill()
        killed.join()

        assert task_owners.abandoned() == [(token, [1, 2])]
        assert task_owners.abandoned() == []


def test_what_nobody_has_taken_yet_and_what_is_done_is_left_by_nobody() -> None:
    waiting = task_owners.assign(uuid4(), [1])
    done = task_owners.assign(uuid4(), [2])
    with pytest.raises(SystemExit), task_owners.running(done):
        raise SystemExit  # as django-q2 ends a task that takes too long: what becomes of its events is recorded

    assert task_owners.abandoned() == []
    with worker(waiting) as killed:
        killed.kill()
        killed.join()
    assert len(task_owners.abandoned()) == 1


def test_a_relay_that_takes_over_numbers_on() -> None:
    """What the one before it handed out, under a number of its own, may be on its way still."""
    before = Queue()
    first = forking.Process(target=lambda: before.put(task_owners.assign(uuid4(), [1])))
    first.start()
    number = before.get()
    first.join()

    assert task_owners.assign(uuid4(), [2]) == number + 1


def test_where_nothing_is_shared_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a task is run in the process that hands it out."""
    monkeypatch.setattr(task_owners, "_owners", None)

    with task_owners.running(task_owners.assign(uuid4(), [1])):
        assert task_owners.abandoned() == []
