"""What the sentinel prepares before it forks. tests/outbox/faults/test_kills.py shows the effect in real clusters."""

import ctypes
import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django_q import cluster, pusher
from django_q.cluster import Sentinel

from outbox.cluster import parent_death, shutdown, task_owners
from outbox.cluster.ipc import Packages, Queue, SharedFlag, SharedTimer
from outbox.relay.broker import OutboxBroker

PR_GET_PDEATHSIG = 2
forking = multiprocessing.get_context("fork")


def told() -> int:
    """The signal that the kernel sends to this process when its parent ends."""
    asked = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(asked))
    return asked.value


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    ctypes.CDLL(None).prctl(parent_death.PR_SET_PDEATHSIG, 0)
    gc.unfreeze()


def test_only_a_child_of_that_process_ends_with_it() -> None:
    parent_death.end_with(os.getpid())
    assert told() == 0

    parent_death.end_with(os.getppid())
    assert told() == signal.SIGKILL


def test_on_other_systems_the_kernel_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent_death, "_libc", None)

    parent_death.end_with(os.getppid())

    assert told() == 0


@pytest.mark.django_db
def test_the_broker_of_the_sentinel_prepares_the_processes_that_it_forks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutdown, "_stop", None)
    monkeypatch.setattr(task_owners, "_shared", None)
    replaced = [(cluster, "Queue"), (cluster, "Value"), (cluster, "Event"), (pusher, "SignedPackage")]
    for module, name in replaced:
        monkeypatch.setattr(module, name, getattr(module, name))
    sentinel = multiprocessing.Process(target=Sentinel, args=(multiprocessing.Event(),))
    with monkeypatch.context() as inside:
        inside.setattr(multiprocessing, "current_process", lambda: sentinel)
        OutboxBroker()

    assert [getattr(module, name) for module, name in replaced] == [Queue, SharedTimer, SharedFlag, Packages]
    assert told() == signal.SIGKILL
    assert gc.get_freeze_count() > 0
    owners = task_owners.shared()
    assert owners
    owners.take_over()
    number, said = owners.assign(uuid4(), [1]), Queue()

    def work() -> None:
        with owners.running(number):
            said.put(told())

    worker = forking.Process(target=work)
    worker.start()
    assert said.get() == signal.SIGKILL
    worker.join()
    assert owners.abandoned() == []
