"""Run PostgreSQL's own programs against the database of the settings."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg.pq import Conninfo

from outbox.database.connection import direct_connection
from semantix.allinone import programs

SERVICE = "semantix"


class ProgramFailed(Exception):
    """A program of PostgreSQL failed. The message is its own reason."""

    def __init__(self, name: str, output: str) -> None:
        lines = [line for line in output.splitlines() if "error" in line.lower() or "FATAL" in line]
        reason = (lines or output.splitlines() or ["it wrote nothing"])[0]
        super().__init__(f"{name} failed: {reason.strip()}")


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The environment in which a program of PostgreSQL connects to the database.

    The parameters are in a private file: as arguments every account of the machine could read the password.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "service.conf")
        file.touch(mode=0o600)
        lines = [f"{name}={value}" for name, value in _parameters().items()]
        file.write_text("\n".join([f"[{SERVICE}]", *lines, ""]))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        yield ours | {"PGSERVICEFILE": str(file), "PGSERVICE": SERVICE, "PGCLIENTENCODING": "UTF8"}


def _parameters() -> Mapping[str, Any]:
    """The parameters of Django's connection that every program of PostgreSQL knows."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return {
        name: value
        for name, value in direct_connection().items()
        if name in known and value not in (None, "")
    }


def command(name: str, *arguments: str) -> list[str]:
    return [str(programs.installed() / name), *arguments]


def output_of(name: str, *arguments: str) -> str:
    """What a program prints that needs no database. Raises ProgramFailed."""
    done = subprocess.run(command(name, *arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProgramFailed(name, done.stderr)
    return done.stdout
