"""Load a backup into the database, in one transaction."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from outbox.operations import epoch
from semantix.recovery import sequences
from semantix.recovery.programs import ProgramFailed, command, environment, output_of

# Not restored: every database with pgvector has them, and only a superuser may create them.
LEFT_OUT = re.compile(
    r"\d+; \d+ \d+ (EXTENSION|COMMENT - EXTENSION|SCHEMA|COMMENT - SCHEMA|ACL|PUBLICATION)\b"
)
NEEDED = ("memory_logs", "outbox_event")
# What pg_restore says of each entry.
STEP = re.compile(r"(creating|processing data for|executing) ")

# Everything in the schema goes first, also what is younger than the backup. What belongs to an extension stays.
BEGIN = """
BEGIN;
SET client_min_messages = 'warning';
SET LOCAL lock_timeout = '10s';
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.oid::regclass AS name, c.relkind FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP %s IF EXISTS %s CASCADE', CASE found.relkind
            WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, found.name);
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', found.name);
    END LOOP;
END $$;
"""
# The archive empties the search path.
END = "RESET search_path;\n{statements}\nCOMMIT;\n"


class NotABackup(Exception):
    """The file is not a backup of this service. The message says why."""


def entries(file: Path) -> list[str]:
    """The entries of the archive that are restored. Raises NotABackup."""
    try:
        lines = output_of("pg_restore", "--list", str(file)).splitlines()
    except ProgramFailed as error:
        raise NotABackup(f"{file} is not a backup ({error}).") from None
    tables = {found[1] for line in lines if (found := re.search(r" TABLE DATA \S+ (\S+) ", line))}
    if missing := set(NEEDED) - tables:
        raise NotABackup(f"{file} is not a backup of Semantix: it has no table {min(missing)}.")
    return [line for line in lines if line and not line.startswith(";") and not LEFT_OUT.match(line)]


def load(file: Path, chosen: Sequence[str], epoch_name: str, advance: Callable[[], object]) -> None:
    """Replace the content of the database by these entries of the archive, and call `advance` for each of them.

    All of it is one transaction, the new epoch of the stream included. Raises ProgramFailed; the database is then as
    it was.
    """
    with tempfile.TemporaryDirectory() as folder, environment() as variables:
        listed = Path(folder, "entries")
        listed.write_text("\n".join([*chosen, ""]))
        options = ["--no-owner", "--no-privileges", "--verbose", f"--use-list={listed}", "--file=-"]
        end = END.format(statements="\n".join([sequences.CONTINUE, *epoch.statements(epoch_name)]))
        _pipe(command("pg_restore", *options, str(file)), end, variables, advance)


def _pipe(reading: list[str], end: str, variables: Mapping[str, str], advance: Callable[[], object]) -> None:
    """Send BEGIN, what the reader writes, and `end` to psql.

    psql commits nothing unless it receives `end`: however this process ends, the database is as it was.
    """
    writing = command(
        "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-"
    )
    complaints: list[str] = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader,
        subprocess.Popen(writing, stdin=subprocess.PIPE, stderr=errors, env=variables) as writer,
    ):
        assert reader.stdout
        assert reader.stderr
        assert writer.stdin
        listening = Thread(target=_listen, args=(reader.stderr, advance, complaints))
        listening.start()
        with suppress(BrokenPipeError):  # psql met an error, and tells it
            writer.stdin.write(BEGIN.encode())
            shutil.copyfileobj(reader.stdout, writer.stdin, 1 << 20)
            if reader.wait() == 0:
                writer.stdin.write(end.encode())
        with suppress(BrokenPipeError):
            writer.stdin.close()
        reader.stdout.close()
        writer.wait()
        listening.join()
        errors.seek(0)
        said = errors.read()
    if writer.returncode:
        raise ProgramFailed("psql", said)
    if reader.returncode:
        raise ProgramFailed("pg_restore", "".join(complaints))


def _listen(lines: IO[bytes], advance: Callable[[], object], complaints: list[str]) -> None:
    """Read what pg_restore reports: its steps, and anything else."""
    for line in lines:
        text = line.decode(errors="replace")
        if STEP.search(text):
            advance()
        else:
            complaints.append(text)
