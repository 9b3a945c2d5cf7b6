"""The sentinel replaces dead processes while it waits for its next look at them."""

import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from outbox.cluster import shutdown
from outbox.cluster.guard import Guard

forking = multiprocessing.get_context("fork")


class Sentinel:
    """The parts of django-q2's sentinel that a guard uses. `stop_after`: replacements before it is told to stop."""

    pool_size = 2

    def __init__(self, stop: Any, *, stop_after: int = 1, fate: Any = signal.pause) -> None:
        self._stop, self._stop_after, self._fate = stop, stop_after, fate
        self.replaced: list[BaseProcess] = []
        self.pool: list[BaseProcess] = [self._spawn(), self._spawn()]
        self.monitor, self.pusher = self._spawn(signal.pause), self._spawn(signal.pause)

    def _spawn(self, fate: Any = None) -> BaseProcess:
        process = forking.Process(target=fate or self._fate)
        process.start()
        return process

    def reincarnate(self, process: BaseProcess) -> None:
        self.replaced.append(process)
        if process is self.pusher:
            self.pusher = self._spawn()
        else:
            self.pool[self.pool.index(process)] = self._spawn()
        if len(self.replaced) == self._stop_after:
            self._stop.set()

    def end(self) -> None:
        for process in (*self.pool, *self.replaced, self.monitor, self.pusher):
            process.kill()
            process.join()


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Any:
    event = multiprocessing.Event()
    monkeypatch.setattr(shutdown, "_stop", event)
    return event


@pytest.fixture
def sentinel(stop: Any) -> Iterator[Sentinel]:
    sentinel = Sentinel(stop)
    yield sentinel
    sentinel.end()


def test_a_dead_worker_is_replaced_before_the_wait_is_over(sentinel: Sentinel) -> None:
    dead = sentinel.pool[0]
    dead.kill()

    # It returns because the replacement stops the cluster, long before a minute is over.
    assert Guard(sentinel).wait(60)

    assert sentinel.replaced == [dead]


def test_a_dead_relay_is_replaced_before_the_wait_is_over(sentinel: Sentinel) -> None:
    dead = sentinel.pusher
    dead.kill()

    assert Guard(sentinel).wait(60)

    assert sentinel.replaced == [dead]


def test_the_wait_ends_when_the_cluster_is_told_to_stop_or_the_time_is_over(
    sentinel: Sentinel, stop: Any
) -> None:
    guard = Guard(sentinel)
    assert not guard.wait(0.01)
    assert not guard.is_set()

    stop.set()

    assert guard.wait(60)
    assert guard.is_set()
    assert sentinel.replaced == []


def test_workers_that_die_as_soon_as_they_start_are_replaced_once_each_in_a_wait(stop: Any) -> None:
    sentinel = Sentinel(stop, stop_after=100, fate=lambda: None)
    try:
        assert not Guard(sentinel).wait(0.5)
        # Two that die at the same moment are replaced together.
        assert len(sentinel.replaced) in (2, 3)
    finally:
        sentinel.end()
