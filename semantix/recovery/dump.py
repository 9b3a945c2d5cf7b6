"""Write a backup: one file with everything that PostgreSQL holds, as of one moment."""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from semantix.recovery.programs import ProgramFailed, command, environment

TABLES = """
SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
"""
TABLE_DUMPED = re.compile(r"dumping contents of table")


@dataclass(frozen=True)
class Backup:
    file: Path
    bytes: int
    tables: int


def count_tables() -> int:
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        [count] = cursor.fetchone()
    return int(count)


def write(file: Path, advance: Callable[[], object]) -> Backup:
    """Write the backup, and call `advance` for each table. Replaces the file in one step.

    Raises ProgramFailed and OSError; the file is then as it was.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        [schema] = cursor.fetchone()
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    # One schema: without it the archive would contain the extension, which only a superuser may create.
    options = ["--format=custom", "--no-owner", "--no-privileges", "--verbose", f"--schema={schema}"]
    try:
        tables = _run(command("pg_dump", *options, f"--file={fresh}"), advance)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size, tables)


def _run(argv: list[str], advance: Callable[[], object]) -> int:
    """Returns the number of tables."""
    count, lines = 0, []
    with (
        environment() as variables,
        subprocess.Popen(argv, env=variables, stderr=subprocess.PIPE, text=True) as running,
    ):
        for line in running.stderr or ():
            lines.append(line)
            if TABLE_DUMPED.search(line):
                count += 1
                advance()
    if running.returncode:
        raise ProgramFailed("pg_dump", "".join(lines))
    return count
