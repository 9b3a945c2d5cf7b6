"""The programs that the tests use and that pip does not bring: where they are, and how to get them.

`python -m tests.support.programs` installs the missing ones with apt (as root, or by a sudo that asks for no
password) or Homebrew, and says what it does. It never fails: a test that needs a missing program is skipped, and
tests.support.untested says so at the end of the run.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass

import pytest

NEEDS = "needs "
APT_GET = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")
APPLICATIONS = "/Applications/{0}.app/Contents/MacOS/{0}"


@dataclass(frozen=True)
class Program:
    """`executables`: the names it is known by, or absolute paths. `tests`: what is not tested without it.

    `apt`: the package, or several of which any will do, the best first.
    """

    name: str
    executables: tuple[str, ...]
    tests: str
    apt: str
    brew: str


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            name="redis-server",
            executables=("redis-server",),
            tests="conversations buffered in Redis, and the services of docker-compose.yml",
            apt="redis-server",
            brew="redis",
        ),
        Program(
            name="pgbouncer",
            executables=("pgbouncer",),
            tests="a cluster behind a transaction-mode pooler",
            apt="pgbouncer",
            brew="pgbouncer",
        ),
        Program(
            name="haproxy",
            executables=("haproxy",),
            tests="several web servers behind a balancer",
            apt="haproxy",
            brew="haproxy",
        ),
        Program(
            name="curl",
            executables=("curl",),
            tests="the requests that README.md and docs/ show",
            apt="curl",
            brew="curl",
        ),
        Program(
            name="promtool",
            executables=("promtool",),
            tests="the alert rules, by Prometheus' own tool",
            apt="prometheus",
            brew="prometheus",
        ),
        Program(
            name="prometheus",
            executables=("prometheus",),
            tests="the queries of the alerts and of the dashboard, on real metrics",
            apt="prometheus",
            brew="prometheus",
        ),
        Program(
            name="chromium",
            executables=(
                "chromium-headless-shell",  # without a window it takes half of the processor's time
                "chromium",
                "chromium-browser",
                "google-chrome",
                "google-chrome-stable",
                APPLICATIONS.format("Chromium"),
                APPLICATIONS.format("Google Chrome"),
            ),
            tests="the admin in a browser",
            apt="chromium-headless-shell chromium",
            brew="--cask chromium",
        ),
    )
}


def require(name: str) -> str:
    """The path of a program. Skips the test that asks where it is missing."""
    return find(PROGRAMS[name]) or pytest.skip(NEEDS + name)


def find(program: Program) -> str | None:
    """Its path, or None. Debian keeps servers in /usr/sbin, which is not on the PATH of an ordinary user."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    siblings = [folder.removesuffix("bin") + "sbin" for folder in folders if folder.endswith("/bin")]
    path = os.pathsep.join(folders + siblings)
    return next((found for name in program.executables if (found := shutil.which(name, path=path))), None)


def missing() -> list[Program]:
    return [program for program in PROGRAMS.values() if not find(program)]


def command_that_brings(program: Program) -> str:
    if _has_brew():
        return f"brew install {program.brew}"
    return f"sudo apt-get install {program.apt.split()[0]}"


def install_missing() -> None:
    """Install each missing program by itself, so that one failure does not keep the others away."""
    programs = missing()
    prefix = _as_root()
    if not programs or prefix is None:
        return
    if not _has_brew():
        _run([*prefix, *APT_GET, "update"])
    for program in programs:
        for command in _commands(program, prefix):
            print(f"The tests need {program.name}. Installing it: {' '.join(command)}", flush=True)
            if _run(command):
                break


def _commands(program: Program, prefix: list[str]) -> list[list[str]]:
    if _has_brew():
        return [["brew", "install", *program.brew.split()]]
    install = [*prefix, *APT_GET, "install", "--yes", "--no-install-recommends"]
    return [[*install, package] for package in program.apt.split()]


def _has_brew() -> bool:
    return bool(shutil.which("brew"))


def _as_root() -> list[str] | None:
    """What stands before a command that only root may run; None where this account may install nothing."""
    if _has_brew():
        return []
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    may = shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False)
    return sudo if may and may.returncode == 0 else None


def _run(command: list[str]) -> bool:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = "\n  ".join(done.stdout.strip().splitlines()[-3:])
        print(f"{' '.join(command)} failed with exit code {done.returncode}:\n  {last}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    install_missing()
