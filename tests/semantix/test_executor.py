"""The web server's threads."""

import threading
import weakref
from concurrent.futures import wait

import pytest

from semantix.web.executor import LatestFirst
from tests.support.waiting import wait_until


@pytest.fixture
def threads() -> LatestFirst:
    return LatestFirst(3, "test")


def held(threads: LatestFirst, count: int) -> threading.Barrier:
    """So many calls at the same time; all of them end when the test passes the barrier, too."""
    together = threading.Barrier(count + 1)
    for _ in range(count):
        threads.submit(together.wait)
    return together


def test_a_call_gives_what_it_returned_or_raised(threads: LatestFirst) -> None:
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result()
    assert threads.submit(int, "ff", base=16).result() == 255


def test_who_rested_least_is_called(threads: LatestFirst) -> None:
    held(threads, 3).wait()
    wait_until(lambda: threads.resting == 3)

    first = threads.submit(threading.get_ident).result()
    for _ in range(5):
        wait_until(lambda: threads.resting == 3)
        assert threads.submit(threading.get_ident).result() == first


def test_no_thread_is_started_while_one_rests(threads: LatestFirst) -> None:
    called = set()
    for _ in range(5):
        called.add(threads.submit(threading.get_ident).result())
        wait_until(lambda: threads.resting == 1)

    assert len(called) == 1


def test_what_comes_while_all_are_busy_waits_for_one_of_them() -> None:
    one = LatestFirst(1, "test")
    together, called = held(one, 1), []
    later = [one.submit(called.append, number) for number in range(5)]
    assert called == []

    together.wait()
    wait(later)

    assert called == list(range(5))


def test_what_was_cancelled_before_its_turn_is_not_called(threads: LatestFirst) -> None:
    together, called = held(threads, 3), []
    given_up = threads.submit(called.append, 1)

    assert given_up.cancel()
    together.wait()

    wait_until(lambda: threads.resting == 3)
    assert called == []


def test_a_thread_that_rests_keeps_nothing_of_what_it_was_called_with(threads: LatestFirst) -> None:
    class Body:
        pass

    body = Body()
    left = weakref.ref(body)
    threads.submit(id, body)
    del body
    wait_until(lambda: threads.resting == 1)

    assert left() is None
