"""Child processes: start, readiness, end."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from semantix.allinone.errors import StartError
from semantix.allinone.process import BACKGROUND_NICENESS, Child
from tests.support.waiting import wait_until


def test_a_child_that_ignores_its_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child("Stubborn", ["sh", "-c", "trap '' TERM; sleep 60 & echo deaf; wait"], log=log)
    child.wait_until(lambda: "deaf" in log.read_text(), timeout=60)
    child.stop(timeout=0.1)
    assert child.exit_code == -signal.SIGKILL
    wait_until(lambda: not session_members(child.pid))


def session_members(session: int) -> list[int]:
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
    return members


def test_a_second_stop_does_nothing() -> None:
    child = Child("Sleeper", ["sleep", "60"])
    child.stop()
    child.stop()
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_is_never_ready_is_stopped_and_reported(tmp_path: Path) -> None:
    child = Child("Sleeper", ["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(StartError, match="Sleeper was not ready after 0 s: it wrote nothing"):
        child.wait_until(lambda: False, timeout=0.1)
    assert not child.is_alive()


def test_a_child_that_is_meant_to_end_may_end_between_two_checks() -> None:
    child = Child("Sleeper", ["sleep", "60"])

    def ready() -> bool:
        ended = not child.is_alive()
        child.stop()
        return ended

    child.wait_until(ready, timeout=60)


def test_a_background_child_has_a_lower_priority(tmp_path: Path) -> None:
    child = Child("Sleeper", ["sleep", "60"], log=tmp_path / "log", background=True)
    try:
        assert psutil.Process(child.pid).nice() == min(19, psutil.Process().nice() + BACKGROUND_NICENESS)
    finally:
        child.stop()
