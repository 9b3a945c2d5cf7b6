"""Run manage.py with the tests' database, mostly in a process of its own."""

import os
import subprocess
import sys
from urllib.parse import urlsplit

from django.core.management import ManagementUtility
from django.db import connection

from tests.support.paths import ROOT


def environment() -> dict[str, str]:
    """This process's environment, with the database of the tests."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return {**os.environ, "DATABASE_URL": url.geturl()}


def exit_code(name: str, *arguments: str) -> int:
    """Run a command in this process, as manage.py does. Returns its exit code."""
    try:
        ManagementUtility().fetch_command(name).run_from_argv(["manage.py", name, *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py to its end. The test must be transactional: another process sees only committed data."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
