"""A process is known to be gone only by a process of the same machine, and then for sure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outbox.cluster import process_identity
from outbox.cluster.process_identity import identity, is_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def end(child: subprocess.Popen[bytes]) -> None:
    child.communicate()


def test_a_living_process_is_not_gone() -> None:
    assert identity(os.getpid())
    assert not is_gone(identity(os.getpid()))


def test_a_process_that_ended_is_gone(child: subprocess.Popen[bytes]) -> None:
    known = identity(child.pid)
    assert not is_gone(known)

    end(child)

    assert is_gone(known)
    assert identity(child.pid) == ""


def test_a_killed_process_that_nobody_waited_for_is_gone(child: subprocess.Popen[bytes]) -> None:
    known = identity(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert is_gone(known)
    assert identity(child.pid) == ""
    end(child)


def test_another_process_with_the_same_id_does_not_count() -> None:
    machine_and_pid, _, start = identity(os.getpid()).rpartition(":")

    assert is_gone(f"{machine_and_pid}:{int(start) + 1}")


def test_nothing_is_known_of_a_process_of_another_machine() -> None:
    machine, pid, start = identity(os.getpid()).rsplit(":", 2)

    assert not is_gone(f"another-{machine}:{2**22 + 1}:{start}")
    assert not is_gone(f"another-{machine}:{pid}:{int(start) + 1}")


def test_on_other_systems_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = identity(os.getpid())
    monkeypatch.setattr(process_identity, "PROC", tmp_path)

    assert identity(os.getpid()) == ""
    assert not is_gone("")
    assert not is_gone(here)
