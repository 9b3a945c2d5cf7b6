"""A backup of a running `up`, and its restore by the command while nothing runs."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.running import Up
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)


def found(up: Up, body: dict[str, str]) -> list[int]:
    """The ids that a search in the index finds."""
    hits = up.post("/memory-logs/search", body | {"query": "login timeout", "mode": "vector"})
    return [hit["memory_log_id"] for hit in hits]


def first_message(up: Up, last_event_id: str) -> str:
    """The first event of a live stream, without heartbeats."""
    headers = {"Last-Event-ID": last_event_id}
    with httpx.stream("GET", f"{up.url}/memory-logs/events", headers=headers, timeout=60) as answer:
        return next(line for line in answer.iter_lines() if line.startswith("event: "))


def test_a_backup_brings_back_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    tenant = new_tenant()._asdict()
    memory = tenant | {"task": "Fix the login timeout", "agent": "coder"}
    file = tmp_path / "backup"
    with Up(tmp_path / "data").wait_until_up() as up:
        kept = up.post("/memory-logs", memory)["id"]
        wait_until(lambda: found(up, tenant) == [kept])
        up.manage("backup", str(file))
        lost = up.post("/memory-logs", memory)["id"]
        wait_until(lambda: sorted(found(up, tenant)) == [kept, lost])
        with pytest.raises(subprocess.CalledProcessError) as refused:
            up.manage("restore", str(file), "--yes")
        assert f"is in use by process {up.process.pid}" in refused.value.stderr
        [(position,)] = up.ask("SELECT xact_id || '-' || id FROM outbox_event ORDER BY id DESC LIMIT 1")
        up.stop()

    up.manage("restore", str(file), "--yes")

    with Up(tmp_path / "data").wait_until_up() as up:
        wait_until(lambda: found(up, tenant) == [kept])
        assert httpx.get(f"{up.url}/memory-logs/{lost}", timeout=60).status_code == 404
        assert up.post("/memory-logs", memory)["id"] > lost
        assert first_message(up, position) == "event: stream.reset"
        wait_until(up.is_idle)
        up.manage("verify_index")
