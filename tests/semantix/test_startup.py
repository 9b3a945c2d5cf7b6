"""Nothing that serves starts without a SECRET_KEY; other commands do."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.processes import environment, manage
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

WITHOUT = {"SECRET_KEY": "", "DJANGO_SETTINGS_MODULE": "semantix.settings"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["manage.py", "qcluster"],
        ["-m", "semantix.web", "--port", "1"],
        ["-c", "import semantix.wsgi"],
        ["-c", "import semantix.asgi"],
    ],
)
def test_without_a_secret_key_nothing_serves(arguments: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment() | WITHOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1
    assert "SECRET_KEY is not set" in run.stderr


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux tells which libraries a process has loaded")
def test_the_web_server_loads_what_a_search_needs_before_the_first_one() -> None:
    with WebServer() as server:
        process = psutil.Process(server.pid)

        wait_until(lambda: any("tokenizers" in each.path for each in process.memory_maps()))


WEB = """
import threading, semantix.warmed
[thread.join() for thread in threading.enumerate() if thread.name == "warm-up"]
"""
CLUSTER = """
import django
from django.core.management import call_command
django.setup()
call_command("qcluster", run_once=True)
"""


@pytest.mark.parametrize("start", [WEB, CLUSTER])
def test_what_serves_looks_for_little_garbage_at_a_time_and_never_through_its_start(start: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"{start}\nimport gc\nprint(gc.get_threshold()[0], gc.get_freeze_count())"],
        cwd=ROOT,
        env=environment() | {"DJANGO_SETTINGS_MODULE": "semantix.settings"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    objects, started = map(int, run.stdout.split())
    assert objects == 2_000
    assert started > 50_000


@pytest.mark.parametrize("command", [["check"], ["showmigrations", "--plan"], ["outbox_status"]])
def test_commands_that_serve_nothing_need_none(command: list[str]) -> None:
    assert manage(*command, **WITHOUT).returncode == 0


def test_a_python_without_the_dependencies_is_told_from_the_projects_own() -> None:
    argv = [sys.executable, "-S", "manage.py", "up"]

    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert run.returncode == 1
    assert "`make run` installs everything" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_says_what_to_do_where_pip_fails(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)

    run = subprocess.run(
        ["make", "run", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "pip must reach PyPI" in run.stderr
    assert not (tmp_path / ".runtime").exists()
