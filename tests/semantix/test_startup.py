"""Nothing that serves starts without a SECRET_KEY; other commands do."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.processes import environment, manage

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


@pytest.mark.parametrize("command", [["check"], ["showmigrations", "--plan"], ["outbox_status"]])
def test_commands_that_serve_nothing_need_none(command: list[str]) -> None:
    assert manage(*command, **WITHOUT).returncode == 0
