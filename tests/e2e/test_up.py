"""`manage.py up`, as a person meets it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.running import ORDINARY_USER, Up
from tests.free_port import free_port
from tests.waiting import wait_until

TENANT = {"user_id": "alice", "project_id": "demo"}
MEMORY = TENANT | {
    "task": "Fix the login timeout",
    "agent": "coder",
    "raw_data": {"solution": "refresh first"},
}

# A claim does not wait for the disk, but who commits after it does.
FLUSHED = "SELECT pg_logical_emit_message(true, '', '')"
IN_HAND = "SELECT id FROM outbox_event WHERE type = 'embedding.generated' AND status = 'claimed'"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder whose path is longer than a socket's may be, with a space in it, of an ordinary user's own."""
    folder = tmp_path / ("a long path/" + "x" * 100)
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(folder, ORDINARY_USER, ORDINARY_USER)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first start makes, which takes a while."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with Up(folder).wait_until_up() as up:
        assert up.stop() == 0
    return folder


@pytest.fixture
def known(made: Path, tmp_path: Path) -> Path:
    """A folder of the test's own that was started over before."""
    subprocess.run(["cp", "-a", made, tmp_path / "data"], check=True)
    return tmp_path / "data"


def found(up: Up) -> list[Any]:
    return list(up.post("/memory-logs/search", TENANT | {"query": "login timeout", "mode": "vector"}))


def backend(up: Up) -> str | None:
    """Who compared the vectors of a search."""
    asked = TENANT | {"query": "login timeout"}
    return httpx.post(f"{up.url}/memory-logs/search", json=asked, timeout=60).headers.get("X-Search-Backend")


def is_equal(up: Up) -> bool:
    """Whether both stores hold the same."""
    try:
        up.manage("verify_index")
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_memory_is_found_and_still_there_after_a_restart(tmp_path: Path) -> None:
    with Up(tmp_path / "data").wait_until_up() as up:
        stored = up.post("/memory-logs", MEMORY)
        assert stored["embedding"] is None
        assert "open, no key asked" in up.output
        wait_until(lambda: found(up))
        assert up.stop() == 0
        assert up.processes() == []
        assert not (up.data / "services.env").exists()
    with Up(tmp_path / "data").wait_until_up() as up:
        assert [result["memory_log_id"] for result in found(up)] == [stored["id"]]
        assert "shown this once" not in up.output


def test_events_pending_at_the_stop_are_delivered_after_the_next_start(data: Path) -> None:
    nobody_there = f"http://127.0.0.1:{free_port()}"
    with Up(data, ordinary_user=True, CHROMA_URL=nobody_there).wait_until_up() as up:
        assert {process.uids().effective for process in up.processes()} == {data.stat().st_uid}
        assert f"Chroma at {nobody_there} does not answer" in up.output
        up.post("/memory-logs", MEMORY)
        assert up.stop() == 0
        assert up.processes() == []
    with Up(data, ordinary_user=True).wait_until_up() as up:
        wait_until(lambda: found(up))


@pytest.mark.parametrize("command", ["qcluster", "postgres"])
def test_when_a_part_dies_all_end_with_one_line(known: Path, command: str) -> None:
    with Up(known).wait_until_up() as up:
        up.child(command).kill()
        assert up.wait_for_end() == 1
        assert "ended by itself (killed by signal 9)" in up.output
        assert up.processes() == []


def test_searches_go_on_while_a_deleted_index_folder_comes_back(known: Path) -> None:
    with Up(known).wait_until_up() as up:
        stored = up.post("/memory-logs", MEMORY)
        wait_until(lambda: found(up))

        shutil.rmtree(up.data / "chromadb", ignore_errors=True)

        def is_back() -> bool:
            assert [result["memory_log_id"] for result in found(up)] == [stored["id"]]
            return "Chroma is back." in up.output

        wait_until(is_back, seconds=60)
        wait_until(lambda: backend(up) == "chroma", seconds=60)
        up.manage("rebuild_index", "--recreate")
        wait_until(lambda: is_equal(up), seconds=60)
        wait_until(lambda: backend(up) == "chroma", seconds=60)


def test_killed_itself_it_leaves_nothing(known: Path) -> None:
    with Up(known).wait_until_up() as up:
        up.process.kill()
        wait_until(lambda: not up.processes())


def test_after_a_power_cut_it_goes_on_at_once_with_what_was_in_hand(known: Path) -> None:
    with Up(known).wait_until_up() as up:
        up.post("/memory-logs", MEMORY)
        wait_until(lambda: len(found(up)) == 1)
        up.child("chromadb").suspend()
        up.post("/memory-logs", MEMORY)
        wait_until(lambda: up.ask(IN_HAND))
        up.ask(FLUSHED)
        up.cut_power()
    with Up(known).wait_until_up() as up:
        assert "Taking up again 1 events" in up.output
        wait_until(lambda: len(found(up)) == 2)
        assert up.stop(signal.SIGTERM) == 0


def test_where_keys_are_required_a_key_opens_its_tenant_alone(known: Path) -> None:
    with Up(known, SEMANTIX_AUTH="required").wait_until_up() as up:
        assert "by key only" in up.output
        key = up.manage("create_api_key", "--user-id", "alice")
        url, headers = f"{up.url}/memory-logs", {"Authorization": f"Bearer {key}"}
        assert httpx.post(url, json=MEMORY, timeout=60).status_code == 401
        assert httpx.post(url, json=MEMORY, headers=headers, timeout=60).status_code == 201
        assert (
            httpx.post(url, json=MEMORY | {"user_id": "bob"}, headers=headers, timeout=60).status_code == 403
        )
