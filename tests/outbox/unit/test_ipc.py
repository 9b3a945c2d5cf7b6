"""Communication between the cluster's processes survives the death of each of them."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import pytest

from outbox.cluster import ipc
from outbox.cluster.ipc import INLINE, Bell, Queue, SharedFlag, SharedTimer, is_any_readable
from tests.support.many_files import many_open_files
from tests.support.waiting import wait_until

forking = multiprocessing.get_context("fork")


@contextmanager
def process(target: Callable[..., Any], *arguments: Any) -> Iterator[multiprocessing.Process]:
    running = forking.Process(target=target, args=arguments)
    running.start()
    try:
        yield running  # type: ignore[misc]
    finally:
        running.kill()
        running.join()


def is_asleep(process: multiprocessing.Process) -> bool:
    return bool(psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)


def test_a_bell_wakes_a_process_that_waits_for_several_files() -> None:
    bell, other = Bell(), Bell()
    assert not bell.has_rung()
    with process(bell.ring):
        assert is_any_readable([other, bell], 60)
    for _ in range(100_000):  # more than a pipe takes
        bell.ring()

    while bell.has_rung():
        pass
    assert not is_any_readable([other, bell], 0)


@pytest.mark.parametrize("maxsize", [0, 3])
def test_a_queue_keeps_objects_and_their_order(maxsize: int) -> None:
    queue = Queue(maxsize)
    objects = [{"number": 1}, "x" * INLINE * 20, b""]
    for each in objects:
        queue.put(each)
    assert not queue.empty()
    assert queue.qsize() == 1

    assert [queue.get() for _ in objects] == objects

    assert queue.empty()
    assert queue.qsize() == 0


def test_a_queue_works_in_a_process_with_more_open_files_than_select_allows() -> None:
    with many_open_files():
        queue = Queue()
        assert queue.empty()

        queue.put(1)

        assert not queue.empty()
        assert queue.get() == 1


def test_a_full_queue_has_room_again_after_a_get() -> None:
    queue, results = Queue(1), Queue()
    queue.put("first")
    with process(lambda: results.put(queue.put("second"))):
        assert queue.get() == "first"
        assert queue.get() == "second"
        assert results.get() is None


def test_a_process_killed_while_it_waits_takes_no_object() -> None:
    queue, taken = Queue(2), Queue()

    def take() -> None:
        taken.put("ready")
        taken.put(queue.get())

    with process(take) as victim, process(take):
        assert [taken.get(), taken.get()] == ["ready", "ready"]
        wait_until(lambda: is_asleep(victim))
        victim.kill()
        victim.join()
        for number in range(3):
            queue.put(number)

        assert taken.get() == 0
        assert [queue.get(), queue.get()] == [1, 2]


def test_a_producer_that_is_killed_before_it_sends_takes_no_place() -> None:
    queue, said = Queue(1), Queue()

    def die_before_sending() -> None:
        def pause(_data: bytes) -> None:
            said.put("sends now")
            signal.pause()

        queue._send = pause  # type: ignore[method-assign]  # noqa: SLF001
        queue.put("lost")

    for _ in range(2):
        with process(die_before_sending) as producer:
            assert said.get() == "sends now"
            producer.kill()

    with process(lambda: said.put(queue.put("sent"))):
        wait_until(lambda: not said.empty())
        assert queue.get() == "sent"


def test_a_producer_waits_while_no_place_is_free() -> None:
    queue, said = Queue(2), Queue()

    def fill() -> None:
        for number in range(3):
            queue.put(number)
            said.put(number)

    with process(fill) as producer:
        assert [said.get(), said.get()] == [0, 1]
        wait_until(lambda: is_asleep(producer))
        assert said.empty()

        assert queue.get() == 0
        assert said.get() == 2


def test_consumers_that_are_killed_while_they_wait_leave_the_limit_as_it_is() -> None:
    queue, said = Queue(1), Queue()
    for _ in range(3):
        with process(queue.get) as consumer:
            wait_until(lambda: is_asleep(consumer))
            consumer.kill()

    with process(lambda: [said.put(queue.put(number)) for number in range(2)]) as producer:
        assert said.get() is None
        wait_until(lambda: is_asleep(producer))
        assert said.empty()
        assert queue.get() == 0


def test_consumers_that_wait_together_take_each_object_once_and_keep_the_limit() -> None:
    queue, taken = Queue(2), Queue()

    def take() -> None:
        for number in iter(queue.get, "STOP"):
            taken.put(number)

    def fill() -> None:
        for number in range(1_000):
            queue.put(number)
        for _ in range(4):
            queue.put("STOP")

    with ExitStack() as stack:
        running = [stack.enter_context(process(target)) for target in (take, take, take, take, fill)]
        assert sorted(taken.get() for _ in range(1_000)) == list(range(1_000))
        for each in running:
            each.join()

    with process(lambda: [taken.put(queue.put(number)) for number in range(3)]) as producer:
        assert [taken.get(), taken.get()] == [None, None]
        wait_until(lambda: is_asleep(producer))
        assert taken.empty()


def test_a_result_that_no_process_takes_is_dropped_and_blocks_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ipc, "PUT_SECONDS", 0.05)
    results = Queue()
    put = 0
    while "is lost" not in caplog.text:
        results.put(put := put + 1)

    assert [results.get() for _ in range(put - 1)] == list(range(1, put))


@pytest.mark.parametrize("maxsize", [0, 1])
def test_an_object_that_cannot_be_pickled_is_dropped(maxsize: int, caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue(maxsize)
    queue.put(lambda: "no pickle")
    assert "cannot be pickled" in caplog.text

    queue.put("next")

    assert queue.get() == "next"


def test_a_flag_set_in_one_process_is_set_in_all() -> None:
    flag, seen = SharedFlag(), Queue()
    assert not flag.is_set()
    with process(flag.set) as other:
        other.join()
        assert flag.is_set()

    flag = SharedFlag()
    flag.set()
    with process(lambda: seen.put(flag.is_set())):
        assert seen.get()


def test_a_timer_has_a_number_and_a_lock() -> None:
    timer = SharedTimer("f", -1)
    for _ in range(2):
        with timer.get_lock():
            timer.value += 2.5

    assert timer.value == 4.0


def test_the_lock_of_a_killed_process_is_free() -> None:
    timer, said = SharedTimer("f", -1), Queue()

    def hold() -> None:
        with timer.get_lock():
            timer.value = 4.5
            said.put("held")
            signal.pause()

    def ask() -> None:
        said.put("asks")
        with timer.get_lock():
            said.put(timer.value)

    with process(hold) as holder:
        assert said.get() == "held"
        with process(ask) as asking:
            assert said.get() == "asks"
            wait_until(lambda: is_asleep(asking))
            assert said.empty()
            holder.kill()

            assert said.get() == 4.5
