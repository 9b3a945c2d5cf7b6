"""Signals that ask `up` to stop while it starts."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from semantix.allinone.errors import StartInterrupted
from semantix.allinone.interruption import SIGNALS, Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGHUP)}
    yield Interruption()
    for number, handler in before.items():
        signal.signal(number, handler)


def ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def at_once(interruption: Interruption, work: Callable[[], object]) -> None:
    with interruption.at_once():
        work()


def test_a_signal_sets_the_flag_and_raises_nothing(interruption: Interruption) -> None:
    assert not interruption()
    ask_to_end()
    assert interruption()


def test_within_at_once_a_signal_raises(interruption: Interruption) -> None:
    reached = []

    def work() -> None:
        ask_to_end()
        reached.append("the next line")

    with pytest.raises(StartInterrupted):
        at_once(interruption, work)
    assert reached == []


def test_an_earlier_signal_is_raised_at_the_start_of_at_once(interruption: Interruption) -> None:
    ask_to_end()
    with pytest.raises(StartInterrupted):
        at_once(interruption, lambda: pytest.fail("it began"))


def test_an_error_caused_by_the_interruption_is_replaced_by_it(interruption: Interruption) -> None:
    def work() -> None:
        try:
            ask_to_end()
        except StartInterrupted as cut_short:
            raise RuntimeError("a connection in an unknown state") from cut_short

    with pytest.raises(StartInterrupted):
        at_once(interruption, work)


def test_a_suppressed_interruption_is_raised_at_the_end(interruption: Interruption) -> None:
    def work() -> None:
        with suppress(StartInterrupted):
            ask_to_end()

    with pytest.raises(StartInterrupted):
        at_once(interruption, work)


def test_an_error_without_a_signal_is_raised_unchanged(interruption: Interruption) -> None:
    def work() -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk"):
        at_once(interruption, work)
