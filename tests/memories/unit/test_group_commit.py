"""Writes that come at the same time go together, and each learns what became of its own."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest
from django.db import OperationalError

from memories.records.group_commit import GroupCommit
from tests.support.waiting import wait_until


class Store:
    """Remembers what was written together; the first write waits until it may go on."""

    def __init__(self) -> None:
        self.writes: list[list[int]] = []
        self.go_on = Event()
        self.begun = Event()

    def write(self, items: Sequence[int]) -> list[str]:
        self.writes.append(list(items))
        self.begun.set()
        assert self.go_on.wait(60)
        if -1 in items:
            raise ValueError("-1 cannot be stored")
        if 0 in items:
            raise OperationalError("the connection is lost")
        return [f"stored {item}" for item in items]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def written(store: Store, pool: ThreadPoolExecutor, *later: int) -> list[Future[str]]:
    """What becomes of 1, and of those that come while 1 is written."""
    gathering = GroupCommit(store.write)
    first = pool.submit(gathering, 1)
    assert store.begun.wait(60)
    others = [pool.submit(gathering, item) for item in later]
    wait_until(lambda: gathering.waiting == len(later))
    store.go_on.set()
    return [first, *others]


def test_those_that_come_during_a_write_are_the_next(pool: ThreadPoolExecutor) -> None:
    store = Store()

    outcomes = written(store, pool, 2, 3, 4)

    assert [outcome.result(60) for outcome in outcomes] == ["stored 1", "stored 2", "stored 3", "stored 4"]
    assert [sorted(items) for items in store.writes] == [[1], [2, 3, 4]]


def test_one_after_the_other_each_goes_alone() -> None:
    store = Store()
    store.go_on.set()
    gathering = GroupCommit(store.write)

    assert [gathering(item) for item in (1, 2, 3)] == ["stored 1", "stored 2", "stored 3"]
    assert store.writes == [[1], [2], [3]]


def test_one_that_cannot_be_stored_fails_alone(pool: ThreadPoolExecutor) -> None:
    store = Store()

    _, refused, stored = written(store, pool, -1, 2)

    assert stored.result(60) == "stored 2"
    with pytest.raises(ValueError, match="-1 cannot be stored"):
        refused.result(60)


def test_where_the_connection_was_lost_nobody_writes_again(pool: ThreadPoolExecutor) -> None:
    store = Store()

    first, *lost = written(store, pool, 0, 2)

    assert first.result(60) == "stored 1"
    for outcome in lost:
        with pytest.raises(OperationalError):
            outcome.result(60)
    assert len(store.writes) == 2


def test_after_a_failure_the_next_goes_on(pool: ThreadPoolExecutor) -> None:
    store = Store()
    store.go_on.set()
    gathering = GroupCommit(store.write)

    with pytest.raises(ValueError, match="-1"):
        gathering(-1)

    assert gathering(5) == "stored 5"
