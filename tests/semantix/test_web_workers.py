"""Several processes of the web server on one port, and how many there are by default."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from semantix import processors
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer


def workers(server: WebServer) -> set[int]:
    """The processes that answer requests. The others of the server only start and stop them."""
    return {child.pid for child in psutil.Process(server.pid).children(recursive=True) if answers(child)}


def answers(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it ended just now
        return False


def test_two_processes_answer_and_one_that_is_killed_is_replaced() -> None:
    with WebServer(WEB_WORKERS="2") as server:
        wait_until(lambda: len(workers(server)) == 2)
        before = workers(server)
        killed = min(before)

        os.kill(killed, signal.SIGKILL)

        wait_until(lambda: len(workers(server) - {killed}) == 2)
        wait_until(server.answers)


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux tells a process that its parent died")
def test_no_process_keeps_the_port_when_the_first_one_is_killed() -> None:
    with WebServer(WEB_WORKERS="2") as server:
        wait_until(lambda: len(workers(server)) == 2)
        left = workers(server)

        os.kill(server.pid, signal.SIGKILL)

        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in left))


@pytest.mark.parametrize(
    ("limit", "most"),
    [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", None)],
)
def test_the_processors_of_a_container_are_counted(tmp_path: Path, limit: str, most: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    of_machine = processors.usable(tmp_path / "none")

    assert processors.usable(file) == (of_machine if most is None else min(most, of_machine))
    assert of_machine >= 1


@pytest.mark.parametrize(("usable", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 16)])
def test_the_other_parts_of_the_service_have_processors_left(usable: int, expected: int) -> None:
    assert processors.web_processes(usable) == expected
