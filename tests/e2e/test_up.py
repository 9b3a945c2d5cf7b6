"""`manage.py up`, used as a person uses it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.free_port import free_port
from tests.support.postgres_folder import reachable
from tests.support.running import ORDINARY_USER, ROOT, Home, Up
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

# The cluster gives way to all else that this machine does meanwhile.
pytestmark = pytest.mark.timeout(400)

# By what stands in their commands, the ones first that others need.
PARTS = {"Postgres": "postgres", "Chroma": "chromadb", "Cluster": "qcluster", "Web server": "semantix.web"}

# A claim does not wait for the disk, but who commits after it does.
FLUSHED = "SELECT pg_logical_emit_message(true, '', '')"
LOOKED_FOR_ALL = "SELECT FROM outbox_event WHERE type = 'index.doubted' AND status = 'delivered'"
IN_HAND = "SELECT id FROM outbox_event WHERE type = 'embedding.generated' AND status = 'claimed'"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Shared by all tests that need no folder of their own, because each start takes a while."""
    home = Home(tmp_path_factory.mktemp("home") / "data")
    try:
        yield home
    finally:
        home.leave()


@pytest.fixture(scope="module")
def first_words(home: Home) -> str:
    """The output of the first start."""
    return home.up().output


@pytest.fixture
def up(home: Home, first_words: str) -> Up:
    return home.up()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of an ordinary user. Its path has a space and is longer than the path of a socket may be."""
    folder = tmp_path / ("a long path/" + "x" * 100)
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(folder, ORDINARY_USER, ORDINARY_USER)
    return folder


class Asker:
    """A tenant of the test's own, with its requests."""

    def __init__(self) -> None:
        self.tenant = new_tenant()._asdict()
        self.memory = self.tenant | {
            "task": "Fix the login timeout",
            "agent": "coder",
            "raw_data": {"solution": "refresh first"},
        }

    def found(self, up: Up) -> list[Any]:
        return list(
            up.post("/memory-logs/search", self.tenant | {"query": "login timeout", "mode": "vector"})
        )

    def backend(self, up: Up) -> str | None:
        """The backend that compared the vectors of a search."""
        asked = self.tenant | {"query": "login timeout"}
        return httpx.post(f"{up.url}/memory-logs/search", json=asked, timeout=60, verify=False).headers.get(
            "X-Search-Backend"
        )


@pytest.fixture
def alice() -> Asker:
    return Asker()


def is_equal(up: Up) -> bool:
    """Whether both stores are equal. Runs the slow comparison only once the cheap conditions hold."""
    if not up.is_idle() or up.indexed() < up.ask("SELECT count(*) FROM memory_logs")[0][0]:
        return False
    try:
        up.manage("verify_index")
    except subprocess.CalledProcessError:
        return False
    return True


def test_the_announcement_names_the_admin_the_embedder_and_the_access_mode(first_words: str) -> None:
    for text in (
        "/admin/ (user admin, password ",
        "Embedder   static",
        "GOOGLE_API_KEY",
        "open: everybody on this machine",
    ):
        assert text in first_words


def test_the_printed_first_requests_work_unchanged(up: Up) -> None:
    requests = re.findall(
        r"curl -s (\S+) -H 'Content-Type: application/json' -d '(.+?)'\n", up.output, re.DOTALL
    )
    (store, memory), (search, query) = [
        (url.removeprefix(up.url), json.loads(body)) for url, body in requests
    ]
    stored = up.post(store, memory)
    found = wait_until(lambda: up.post(search, query))
    assert [result["memory_log_id"] for result in found] == [stored["id"]]


def test_a_second_up_on_the_same_data_is_refused(up: Up) -> None:
    second = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up"],
        env=psutil.Process(up.process.pid).environ() | {"PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"is in use by process {up.process.pid}" in second.stderr


def test_other_commands_reach_its_services(up: Up, alice: Asker) -> None:
    up.post("/memory-logs", alice.memory)
    user_id = alice.tenant["user_id"]
    program = (
        f"from memories.models import MemoryLog;print(MemoryLog.objects.filter(user_id='{user_id}').count())"
    )
    assert up.manage("shell", "--no-imports", "-c", program) == "1"


def test_other_accounts_can_read_nothing_in_the_data_folder(up: Up) -> None:
    assert up.data.stat().st_mode & 0o007 == 0
    modes = {
        path.name: path.lstat().st_mode & 0o777
        for path in up.data.iterdir()
        if not path.is_symlink() and path.name != "postgres"  # initdb chooses the mode of its folder
    }
    assert {name for name, mode in modes.items() if mode & 0o077} == set()
    assert modes["services.env"] == modes["secret_key"] == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's Postgres runs as that user")
def test_as_root_in_a_closed_folder_the_database_is_kept_elsewhere_and_no_mode_is_changed(
    tmp_path: Path,
) -> None:
    closed = reachable(tmp_path) / "root"
    closed.mkdir(mode=0o700)
    with Up(closed / "data", opened=False).wait_until_up() as up:
        kept = (closed / "data" / "postgres").resolve()
        try:
            assert f"may not enter {closed}" in up.output
            assert str(kept.parent) in up.output
            assert closed.stat().st_mode & 0o777 == 0o700
        finally:
            up.stop()
            shutil.rmtree(kept.parent)


def test_searches_go_on_while_a_deleted_index_folder_comes_back_for_every_tenant(
    up: Up, alice: Asker
) -> None:
    stored = up.post("/memory-logs", alice.memory)
    up.post("/memory-logs", Asker().memory)
    wait_until(lambda: is_equal(up))
    before = up.output

    shutil.rmtree(up.data / "chromadb", ignore_errors=True)

    def is_back() -> bool:
        assert [result["memory_log_id"] for result in alice.found(up)] == [stored["id"]]
        return "Chroma runs again." in up.output.removeprefix(before)

    wait_until(is_back)
    wait_until(lambda: alice.backend(up) == "chroma")
    wait_until(lambda: up.ask(LOOKED_FOR_ALL))
    wait_until(lambda: is_equal(up))  # also of the one who never asked
    up.manage("rebuild_index", "--recreate")
    wait_until(lambda: is_equal(up))
    wait_until(lambda: alice.backend(up) == "chroma")


def test_a_memory_is_found_and_still_there_after_a_restart(home: Home, up: Up, alice: Asker) -> None:
    stored = up.post("/memory-logs", alice.memory)
    assert stored["embedding"] is None
    wait_until(lambda: alice.found(up))
    assert up.stop() == 0
    assert up.processes() == []
    assert not (up.data / "services.env").exists()

    again = home.up()
    assert [result["memory_log_id"] for result in alice.found(again)] == [stored["id"]]
    assert "shown only once" not in again.output


def test_after_a_power_cut_claimed_events_are_delivered_at_once(home: Home, up: Up, alice: Asker) -> None:
    up.post("/memory-logs", alice.memory)
    wait_until(lambda: len(alice.found(up)) == 1)
    wait_until(up.is_idle)
    up.child("chromadb").suspend()
    up.post("/memory-logs", alice.memory)
    wait_until(lambda: up.ask(IN_HAND))
    up.ask(FLUSHED)
    up.cut_power()

    again = home.up()
    assert "Returned 1 event to the queue" in again.output, again.output
    wait_until(lambda: len(alice.found(again)) == 2)


def test_a_part_that_dies_is_restarted_and_memories_are_found_again(up: Up, alice: Asker) -> None:
    up.post("/memory-logs", alice.memory)
    wait_until(lambda: len(alice.found(up)) == 1)
    for part, command in PARTS.items():
        kill(up, part, command)
    up.post("/memory-logs", alice.memory)
    wait_until(lambda: len(alice.found(up)) == 2)


def kill(up: Up, part: str, command: str) -> None:
    """Kill the part. Returns when `up` reports that it runs again."""
    before = up.output
    up.child(command).kill()
    died, back = f"{part} ended by itself (killed by signal 9): starting it again", f"{part} runs again."
    wait_until(lambda: back in up.output.removeprefix(before).partition(died)[2])


def test_a_part_that_dies_again_and_again_is_restarted_while_the_api_takes_memories(
    up: Up, alice: Asker
) -> None:
    """Four deaths within a minute ended everything once, the API included."""
    before = len(up.output)

    def is_reported() -> bool:
        with suppress(StopIteration, psutil.Error):
            up.child("qcluster").kill()
        return "Cluster ended by itself (killed by signal 9): starting it again in 7 s" in up.output[before:]

    wait_until(is_reported)
    up.post("/memory-logs", alice.memory)
    health = httpx.get(f"{up.url}/health/ready", timeout=60).json()
    assert health["status"] == "degraded"
    assert "Cluster was restarted 3 times in a row" in health["checks"]["parts"]["detail"]
    assert up.process.poll() is None
    wait_until(lambda: alice.found(up))


def test_without_an_index_folder_it_starts_and_takes_memories(tmp_path: Path, alice: Asker) -> None:
    (tmp_path / "chromadb").touch()
    with Up(tmp_path / "data", CHROMADB_PATH=str(tmp_path / "chromadb")).wait_until_up() as up:
        assert f"Cannot keep an index in {tmp_path / 'chromadb'}" in up.output
        up.post("/memory-logs", alice.memory)
        (tmp_path / "chromadb").unlink()
        wait_until(lambda: "Chroma runs again." in up.output)
        wait_until(lambda: alice.backend(up) == "chroma" and alice.found(up))


def test_a_required_key_opens_only_its_own_tenant(home: Home, first_words: str, alice: Asker) -> None:
    home.leave()
    up = home.up(SEMANTIX_AUTH="required")
    assert "by key only" in up.output
    key = up.manage("create_api_key", "--user-id", alice.tenant["user_id"])
    url, headers = f"{up.url}/memory-logs", {"Authorization": f"Bearer {key}"}
    of_another = alice.memory | new_tenant()._asdict()
    assert httpx.post(url, json=alice.memory, timeout=60).status_code == 401
    assert httpx.post(url, json=alice.memory, headers=headers, timeout=60).status_code == 201
    assert httpx.post(url, json=of_another, headers=headers, timeout=60).status_code == 403


def test_a_killed_up_leaves_no_process(up: Up) -> None:
    up.process.kill()
    up.wait_for_end()
    wait_until(lambda: not up.processes())


def test_events_pending_at_the_stop_are_delivered_after_the_next_start(data: Path, alice: Asker) -> None:
    nobody_there = f"http://127.0.0.1:{free_port()}"
    with Up(data, ordinary_user=True, CHROMA_URL=nobody_there).wait_until_up() as up:
        assert up.accounts() == {data.stat().st_uid}
        assert "Chroma does not answer" in up.output
        assert nobody_there in up.output
        up.post("/memory-logs", alice.memory)
        assert up.stop(signal.SIGTERM) == 0
        assert up.processes() == []
    with Up(data, ordinary_user=True).wait_until_up() as up:
        wait_until(lambda: alice.found(up))
