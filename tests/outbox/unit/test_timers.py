"""The timers of the relay's loop."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django_q.cluster import Sentinel

from outbox.cluster import shutdown
from outbox.relay.timers import CoalescingDelay, Interval


def test_a_job_is_due_at_once_and_then_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    chore, now = Interval(1000), time.monotonic()

    assert chore.is_due()
    assert not chore.is_due()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2000)
    assert chore.is_due()
    assert not chore.is_due()


def test_a_job_can_be_brought_forward_and_not_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    chore = Interval(1000)
    assert chore.left == 0
    assert chore.is_due()

    chore.hasten(2000)
    assert chore.left == pytest.approx(1000)
    chore.hasten(10)
    assert chore.left == pytest.approx(10)
    assert not chore.is_due()


def test_a_job_whose_runs_take_long_is_due_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    chore = Interval(1)
    assert chore.is_due()

    chore.spare(0.001)
    assert chore.left == pytest.approx(1)
    chore.spare(0.2)
    assert chore.left == pytest.approx(4)
    chore.spare(60)
    assert chore.left == pytest.approx(10)


def test_a_job_is_put_off_for_something_urgent_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    chore = Interval(1)

    assert chore.is_due(unless=lambda: False)
    assert not chore.is_due(unless=lambda: False)
    now += 1.1
    assert not chore.is_due(unless=lambda: True)
    now += 0.2
    assert chore.is_due(unless=lambda: True)


def test_the_delay_doubles_while_claims_bring_several_events() -> None:
    delay = CoalescingDelay()
    windows = []
    for _ in range(6):
        delay.claimed(CoalescingDelay.SEVERAL)
        windows.append(delay.window)

    assert windows == [0.001, 0.002, 0.004, 0.008, 0.008, 0.008]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The durations of the waits, in seconds."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_single_events_are_not_delayed(slept: list[float]) -> None:
    delay = CoalescingDelay()
    delay.claimed(CoalescingDelay.SEVERAL)
    delay.claimed(1)

    assert delay.window == 0
    delay.wait()
    assert slept == []


def test_an_event_after_a_pause_is_not_delayed(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    delay = CoalescingDelay()
    delay.claimed(100)

    now += 0.01
    delay.wait()
    assert slept == [0.001]
    now += 0.02
    delay.wait()
    assert slept == [0.001]


def test_a_wait_takes_the_window(slept: list[float]) -> None:
    delay = CoalescingDelay()
    for _ in range(6):
        delay.claimed(100)

    delay.wait()
    assert slept == [0.008]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_stop", None)


@pytest.mark.usefixtures("process")
def test_the_stop_event_of_the_sentinel_says_that_the_cluster_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, start = multiprocessing.Event(), multiprocessing.Event()
    sentinel = multiprocessing.Process(target=Sentinel, args=(stop, start, "cluster", None, None))
    monkeypatch.setattr(multiprocessing, "current_process", lambda: sentinel)

    assert shutdown.watch()
    start.set()
    assert not shutdown.is_stopping()
    stop.set()
    with ThreadPoolExecutor(1) as pool, stop._cond:  # type: ignore[attr-defined]  # noqa: SLF001 - as a killed one
        assert pool.submit(shutdown.is_stopping).result(60)


@pytest.mark.usefixtures("process")
def test_a_broker_outside_of_a_sentinel_watches_nothing() -> None:
    assert not shutdown.watch()

    assert not shutdown.is_stopping()
