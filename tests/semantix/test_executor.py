"""The web server's thread pool."""

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
    """Submit `count` calls that all run until the test passes the barrier."""
    together = threading.Barrier(count + 1)
    for _ in range(count):
        threads.submit(together.wait)
    return together


def test_a_call_returns_or_raises_what_the_function_did(threads: LatestFirst) -> None:
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result()
    assert threads.submit(int, "ff", base=16).result() == 255


def test_the_thread_that_became_idle_last_is_called(threads: LatestFirst) -> None:
    held(threads, 3).wait()
    wait_until(lambda: threads.idle == 3)

    first = threads.submit(threading.get_ident).result()
    for _ in range(5):
        wait_until(lambda: threads.idle == 3)
        assert threads.submit(threading.get_ident).result() == first


def test_no_thread_is_started_while_one_is_idle(threads: LatestFirst) -> None:
    called = set()
    for _ in range(5):
        called.add(threads.submit(threading.get_ident).result())
        wait_until(lambda: threads.idle == 1)

    assert len(called) == 1


def test_a_call_waits_while_all_threads_are_busy() -> None:
    one = LatestFirst(1, "test")
    together, called = held(one, 1), []
    later = [one.submit(called.append, number) for number in range(5)]
    assert called == []

    together.wait()
    wait(later)

    assert called == list(range(5))


def test_a_call_cancelled_while_it_waits_is_not_made(threads: LatestFirst) -> None:
    together, called = held(threads, 3), []
    given_up = threads.submit(called.append, 1)

    assert given_up.cancel()
    together.wait()

    wait_until(lambda: threads.idle == 3)
    assert called == []


def test_an_idle_thread_keeps_no_argument_of_its_last_call(threads: LatestFirst) -> None:
    class Body:
        pass

    body = Body()
    left = weakref.ref(body)
    threads.submit(id, body)
    del body
    wait_until(lambda: threads.idle == 1)

    assert left() is None
