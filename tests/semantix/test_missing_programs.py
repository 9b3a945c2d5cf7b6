"""Where Redis, PgBouncer or a browser is missing, the tests get it, or say what was not tested."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.programs import PROGRAMS

Run = Callable[..., subprocess.CompletedProcess[str]]

# Stands in for a system's installer: a fake, because a test must not install programs on its machine.
INSTALLER = """#!/bin/sh
echo "$0 $*" >> {log}
case "$*" in *headless-shell) echo "E: Unable to locate package chromium-headless-shell"; exit 100;; esac
"""
AS_ROOT = """#!/bin/sh
[ "$1" = -n ] && shift
exec "$@"
"""
ASKS_FOR_A_PASSWORD = "#!/bin/sh\nexit 1\n"


class Machine:
    """A PATH of its own, which holds nothing but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.log = folder / "installed.log"
        self.bin.mkdir()
        for name in ("env", "sh", "true"):
            (self.bin / name).symlink_to(f"/usr/bin/{name}")

    def has(self, name: str, script: str = "#!/bin/sh\n") -> None:
        program = self.bin / name
        program.write_text(script.format(log=self.log))
        program.chmod(0o755)

    @property
    def commands(self) -> list[str]:
        """What was asked of the installer."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.removeprefix(f"{self.bin}/") for line in lines]

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={"PATH": str(self.bin), "HOME": str(self.bin.parent), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def install_missing(self, *, as_root: bool) -> subprocess.CompletedProcess[str]:
        user = 0 if as_root else 1000
        program = f"import os, tests.support.programs as p; os.geteuid = lambda: {user}; p.install_missing()"
        return self.python("-c", program)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Redis, PgBouncer and a browser are missing."""
    machine = Machine(tmp_path)
    for name in PROGRAMS.keys() - {"redis-server", "pgbouncer", "chromium"}:
        machine.has(name)
    return machine


def test_root_installs_what_is_missing_and_nothing_else(machine: Machine) -> None:
    machine.has("apt-get", INSTALLER)
    machine.has("pgbouncer")

    done = machine.install_missing(as_root=True)

    assert machine.commands == [
        "apt-get -qq update",
        "apt-get -qq install --yes --no-install-recommends redis-server",
        "apt-get -qq install --yes --no-install-recommends chromium-headless-shell",
        # Not every system has the former, and either will do.
        "apt-get -qq install --yes --no-install-recommends chromium",
    ]
    assert "The tests need redis-server. Installing it: " in done.stdout


def test_a_failed_installation_is_reported_with_the_installers_reason(machine: Machine) -> None:
    machine.has("apt-get", INSTALLER)

    done = machine.install_missing(as_root=True)

    assert done.returncode == 0
    assert "failed with exit code 100:\n  E: Unable to locate package chromium-headless-shell" in done.stdout


def test_another_account_installs_with_a_sudo_that_asks_for_no_password(machine: Machine) -> None:
    machine.has("apt-get", INSTALLER)
    machine.has("sudo", AS_ROOT)

    machine.install_missing(as_root=False)

    assert "apt-get -qq install --yes --no-install-recommends redis-server" in machine.commands


def test_nothing_is_installed_when_sudo_asks_for_a_password(machine: Machine) -> None:
    machine.has("apt-get", INSTALLER)
    machine.has("sudo", ASKS_FOR_A_PASSWORD)

    assert machine.install_missing(as_root=False).returncode == 0
    assert machine.commands == []


def test_homebrew_needs_no_root(machine: Machine) -> None:
    machine.has("brew", INSTALLER)

    machine.install_missing(as_root=False)

    assert machine.commands == [
        "brew install redis",
        "brew install pgbouncer",
        "brew install --cask chromium",
    ]


NEEDS_ALL = """
import pytest
from tests.support.programs import PROGRAMS, require

@pytest.mark.parametrize("name", [*PROGRAMS, "redis-server"])
def test_it(name):
    assert require(name)
"""


class TestARun:
    @pytest.fixture
    def run(self, machine: Machine, tmp_path: Path) -> Run:
        file = tmp_path / "test_it.py"
        file.write_text(NEEDS_ALL)
        plugins = ["-p", "tests.support.untested", "-p", "no:django", "-p", "no:schemathesis"]
        return partial(machine.python, "-m", "pytest", "-c", os.devnull, "-q", *plugins, str(file))

    def test_its_last_lines_say_what_missing_programs_left_untested(self, machine: Machine, run: Run) -> None:
        machine.has("chromium")

        done = run()

        assert done.returncode == 0
        redis, pgbouncer = done.stdout.strip().splitlines()[-2:]
        assert redis.startswith("Not tested: conversations buffered in Redis")
        assert "(tests skipped: 2)" in redis
        assert redis.endswith("sudo apt-get install redis-server")
        assert pgbouncer.endswith("sudo apt-get install pgbouncer")

    def test_with_workers_its_last_lines_are_the_same(self, run: Run) -> None:
        assert (
            run("-n", "1")
            .stdout.strip()
            .splitlines()[-1]
            .endswith("sudo apt-get install chromium-headless-shell")
        )

    def test_a_pipeline_does_not_pass_by_skipping(self, run: Run) -> None:
        done = run(CI="true")

        assert done.returncode == 1
        assert "Failed: CI is set" in done.stdout

    def test_it_says_nothing_when_nothing_is_missing(self, machine: Machine, run: Run) -> None:
        for name in PROGRAMS:
            machine.has(name)

        done = run(CI="true")

        assert done.returncode == 0
        assert "Not tested" not in done.stdout
