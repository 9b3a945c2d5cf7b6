"""Task owners: the relay and its successor know exactly what a killed worker had begun."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from outbox.cluster import task_owners
from outbox.cluster.ipc import Queue
from outbox.cluster.task_owners import Abandoned, TaskOwners

forking = multiprocessing.get_context("fork")
TOKEN = uuid4()


@pytest.fixture
def owners() -> TaskOwners:
    owners = TaskOwners()
    assert not owners.take_over()
    return owners


@contextmanager
def worker(owners: TaskOwners, number: int, *units: tuple[int, int]) -> Iterator[multiprocessing.Process]:
    """A worker that runs the task and began these units of it."""
    began = Queue()

    def work() -> None:
        with owners.running(number) as mine:
            assert mine
            for start, size in units:
                owners.begin_unit(number, start, size)
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


def killed(owners: TaskOwners, number: int, *units: tuple[int, int]) -> None:
    with worker(owners, number, *units):
        pass


def in_another_process(work: Callable[[], object]) -> object:
    answer = Queue()
    other = forking.Process(target=lambda: answer.put(work()))
    other.start()
    found = answer.get()
    other.join()
    return found


def test_the_task_of_a_killed_worker_is_returned_once(owners: TaskOwners) -> None:
    number = owners.assign(TOKEN, [1, 2])
    with worker(owners, number, (0, 2)) as running:
        assert owners.abandoned() == []
        running.kill()
        running.join()

        assert owners.abandoned() == [Abandoned(TOKEN, in_hand=[1, 2], others=[], worker=running.pid)]
        assert owners.abandoned() == []


@pytest.mark.parametrize(
    ("units", "in_hand"),
    [
        ([], []),
        ([(0, 2)], [11, 12]),
        ([(0, 2), (2, 1)], [13]),
        ([(0, 2), (0, 0)], []),
        ([(0, 5), (3, 2)], [14, 15]),
    ],
)
def test_only_the_events_of_the_last_unit_are_in_hand(
    owners: TaskOwners, units: list[tuple[int, int]], in_hand: list[int]
) -> None:
    events = [11, 12, 13, 14, 15]
    killed(owners, owners.assign(TOKEN, events), *units)

    others = [event for event in events if event not in in_hand]
    assert [found[:3] for found in owners.abandoned()] == [(TOKEN, in_hand, others)]


def test_a_task_that_is_not_begun_or_done_is_not_abandoned(owners: TaskOwners) -> None:
    waiting = owners.assign(TOKEN, [1])
    done = owners.assign(TOKEN, [2])
    # As django-q2 ends a task that takes too long. The delivery records what becomes of its events.
    with pytest.raises(SystemExit), owners.running(done):
        raise SystemExit

    assert owners.abandoned() == []
    killed(owners, waiting)
    assert len(owners.abandoned()) == 1


def test_a_task_that_may_have_been_taken_by_a_dead_worker_is_revoked(owners: TaskOwners) -> None:
    taken, running = owners.assign(TOKEN, [1]), owners.assign(TOKEN, [2])
    with worker(owners, running, (0, 1)):
        assert owners.revoke_waiting()
        assert owners.assigned() == [(TOKEN, 2)]
        with owners.running(taken) as mine:
            assert not mine

        assert not owners.revoke_waiting()


def test_a_task_whose_outcome_could_not_be_recorded_is_abandoned(owners: TaskOwners) -> None:
    number = owners.assign(TOKEN, [1, 2])
    with pytest.raises(OSError, match="database"), owners.running(number):
        raise OSError("the database does not answer")

    assert owners.abandoned() == [Abandoned(TOKEN, in_hand=[], others=[1, 2])]


def test_a_successor_keeps_running_tasks_and_revokes_those_that_are_not_begun(owners: TaskOwners) -> None:
    running = owners.assign(TOKEN, [1, 2])
    waiting = owners.assign(TOKEN, [3, 4])
    done = owners.assign(TOKEN, [5])
    with owners.running(done):
        pass

    def succeed() -> tuple[bool, list[tuple[UUID, int]], int]:
        return owners.take_over(), owners.assigned(), owners.assign(TOKEN, [6])

    with worker(owners, running, (1, 1)) as process:
        assert in_another_process(succeed) == (True, [(TOKEN, 1), (TOKEN, 2)], done + 1)
        with owners.running(waiting) as mine:
            assert not mine
        assert in_another_process(lambda: (owners.take_over(), owners.abandoned())) == (True, [])
    after = in_another_process(lambda: (owners.take_over(), owners.abandoned()))
    assert after == (True, [Abandoned(TOKEN, in_hand=[2], others=[1], worker=process.pid)])


def test_the_journal_is_rewritten_without_the_finished_tasks(
    owners: TaskOwners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_owners, "REWRITE_BYTES", 1000)
    for _ in range(100):
        with owners.running(owners.assign(TOKEN, list(range(10)))):
            pass
    waiting = owners.assign(TOKEN, [1, 2])
    owners.abandoned()

    assert owners._journal.length < 1000  # noqa: SLF001
    with worker(owners, waiting):
        found = in_another_process(lambda: (owners.take_over(), owners.assigned()))
        assert found == (True, [(TOKEN, 1), (TOKEN, 2)])


def test_dangerous_tasks_count_until_they_are_done_or_their_worker_died(owners: TaskOwners) -> None:
    owners.assign(TOKEN, [1])
    first, second, _ = (owners.assign(TOKEN, [id], dangerous=True) for id in (2, 3, 4))
    assert owners.count_dangerous() == 3
    with owners.running(first):
        assert owners.count_dangerous() == 3
    assert owners.count_dangerous() == 2
    killed(owners, second, (0, 1))
    assert [task.in_hand for task in owners.abandoned()] == [[3]]

    assert owners.count_dangerous() == 1


def test_outside_of_a_cluster_nothing_is_shared() -> None:
    assert task_owners.shared() is None
