"""`manage.py backup FILE`: write everything that PostgreSQL holds into one file."""

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from outbox.counting import counted
from outbox.management.command import OutboxCommand, WrongUse
from semantix.allinone.errors import StartError
from semantix.recovery import dump
from semantix.recovery.programs import ProgramFailed
from semantix.recovery.servers import running_database


class Command(OutboxCommand):
    help = (
        "Write a backup of the database: one file, as of one moment, while everything runs. The index needs none, "
        "because `restore` makes it again. Turns that wait in Redis are not in it: run `flush_conversations "
        "--idle-minutes 0` first."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, metavar="FILE", help="the file to write")
        parser.add_argument("--replace", action="store_true", help="replace FILE if it exists")

    def handle(self, *_args: object, **options: Any) -> None:
        file: Path = options["file"].absolute()
        if file.exists() and not options["replace"]:
            raise WrongUse(f"{file} exists. Name another file, or replace it with --replace.")
        if not file.parent.is_dir():
            raise WrongUse(f"There is no folder {file.parent}.")
        started = time.monotonic()
        try:
            with running_database(self._say):
                backup = self._write(file)
        except (ProgramFailed, StartError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"Cannot write {file}: {error.strerror}") from error
        seconds = round(time.monotonic() - started, 3)
        answer = {"file": str(file), "bytes": backup.bytes, "tables": backup.tables, "seconds": seconds}
        text = f"{file}: {counted(backup.tables, 'table')}, {backup.bytes:,} bytes, in {seconds:.1f} s."
        self.answer(options, answer, f"{text} It is as confidential as the database: only you can read it.")

    def _write(self, file: Path) -> dump.Backup:
        # disable=None: show the bar on a terminal, but not in a file or a pipe.
        with tqdm(total=dump.count_tables(), unit=" tables", disable=None) as bar:
            return dump.write(file, bar.update)

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr)
