"""The task of a killed worker is known; the task of a living worker is not abandoned."""

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
    """A worker that runs this task."""
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


def test_the_task_of_a_killed_worker_is_returned_once() -> None:
    token = uuid4()
    number = task_owners.assign(token, [1, 2])
    with worker(number) as killed:
        assert task_owners.abandoned() == []
        killed.kill()
        killed.join()

        assert task_owners.abandoned() == [(token, [1, 2])]
        assert task_owners.abandoned() == []


def test_a_task_that_is_not_begun_or_done_is_not_abandoned() -> None:
    waiting = task_owners.assign(uuid4(), [1])
    done = task_owners.assign(uuid4(), [2])
    with pytest.raises(SystemExit), task_owners.running(done):
        raise SystemExit  # as django-q2 ends a task that takes too long: what becomes of its events is recorded

    assert task_owners.abandoned() == []
    with worker(waiting) as killed:
        killed.kill()
        killed.join()
    assert len(task_owners.abandoned()) == 1


def test_the_successor_of_a_relay_continues_the_numbers() -> None:
    """Tasks of the former relay may still be in the queue under their numbers."""
    before = Queue()
    first = forking.Process(target=lambda: before.put(task_owners.assign(uuid4(), [1])))
    first.start()
    number = before.get()
    first.join()

    assert task_owners.assign(uuid4(), [2]) == number + 1


def test_outside_of_a_cluster_no_task_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example if a task runs in the process that created it."""
    monkeypatch.setattr(task_owners, "_owners", None)

    with task_owners.running(task_owners.assign(uuid4(), [1])):
        assert task_owners.abandoned() == []
