"""Beside a running `manage.py up`: what others find and may do."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.e2e.running import ROOT, Up
from tests.free_port import free_port
from tests.waiting import wait_until

MEMORY = {"user_id": "alice", "project_id": "demo", "task": "Fix the login timeout", "agent": "coder"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("beside") / "data").wait_until_up() as up:
        yield up


def test_a_second_one_on_the_same_data_is_refused(up: Up) -> None:
    second = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up"],
        env=psutil.Process(up.process.pid).environ() | {"PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"is in use by process {up.process.pid}" in second.stderr


def test_other_commands_reach_its_services(up: Up) -> None:
    up.post("/memory-logs", MEMORY)
    program = "from memories.models import MemoryLog; print(MemoryLog.objects.count())"
    shell = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "shell", "--no-imports", "-c", program],
        env=psutil.Process(up.process.pid).environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == "1"


def test_what_it_writes_of_secrets_is_private(up: Up) -> None:
    modes = {name: (up.data / name).stat().st_mode & 0o777 for name in ("services.env", "secret_key")}
    assert modes == {"services.env": 0o600, "secret_key": 0o600}


def test_it_says_where_the_admin_is_and_what_the_embedder_is_not(up: Up) -> None:
    for text in (f"{up.url}/admin/ (user admin, password ", "lexical", "GOOGLE_API_KEY"):
        assert text in up.output


def test_the_first_requests_it_prints_work_as_they_stand(up: Up) -> None:
    requests = re.findall(
        r"curl -s (\S+) -H 'Content-Type: application/json' -d '(.+?)'\n", up.output, re.DOTALL
    )
    (store, memory), (search, query) = [
        (url.removeprefix(up.url), json.loads(body)) for url, body in requests
    ]
    stored = up.post(store, memory)
    found = wait_until(lambda: up.post(search, query))
    assert [result["memory_log_id"] for result in found] == [stored["id"]]
