"""`manage.py restore FILE`: replace the database by a backup. `--after`: what follows a restore by other means."""

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from tqdm import tqdm

from memories.erasure import repeat
from memories.models import MemoryLog
from outbox.counting import counted
from outbox.management.command import OutboxCommand, WrongUse
from outbox.operations.epoch import new_name
from semantix.allinone import database
from semantix.allinone.errors import StartError
from semantix.database.direct import connect_directly
from semantix.recovery import aftermath, load, sessions
from semantix.recovery.programs import ProgramFailed
from semantix.recovery.servers import database_without_up, empty_index


class Command(OutboxCommand):
    help = (
        "Replace the content of the database by a backup, in one transaction, and make the index equal to it. Stop "
        "everything else first. With --after: the database was restored by other means (a snapshot of a managed "
        "PostgreSQL); do what has to follow."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a file that `backup` wrote")
        parser.add_argument(
            "--after", action="store_true", help="the database was already restored by other means"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask before memories are replaced")
        parser.add_argument(
            "--skip-index",
            action="store_true",
            help="leave the index as it is: `rebuild_index` makes it equal later",
        )

    def handle(self, *_args: object, **options: Any) -> None:
        connect_directly()
        file: Path | None = options["file"] and options["file"].absolute()
        if (file is None) != options["after"]:
            raise WrongUse("Name a FILE, or --after.")
        started = time.monotonic()
        try:
            with database_without_up(self._say):
                answer = self._adopt() if file is None else self._replace(file, options)
                index = None if options["skip_index"] else self._index(options)
        except (ProgramFailed, StartError, load.NotABackup) as error:
            raise CommandError(str(error)) from error
        answer |= {"seconds": round(time.monotonic() - started, 3), "index": index and index.rebuilt}
        self.answer(options, answer, self._text(answer))
        if index and index.problem:
            raise CommandError(
                f"The database is restored, but the index is not equal to it: {index.problem} Run rebuild_index."
            )

    def _replace(self, file: Path, options: dict[str, Any]) -> dict[str, Any]:
        if not file.is_file():
            raise WrongUse(f"There is no file {file}.")
        entries = load.entries(file)
        database.prepare_extension()
        self._confirm(options)
        self._require_alone()
        erased = repeat.receipts()
        epoch = new_name()
        connections.close_all()
        with tqdm(total=len(entries), unit=" objects", disable=None) as bar:
            load.load(file, entries, epoch, bar.update)
        reclaimed = aftermath.settle()
        return {
            "file": str(file),
            "objects": len(entries),
            "epoch": epoch,
            "reclaimed": reclaimed,
            "erasures": repeat.repeat(erased),
        } | _counts()

    def _adopt(self) -> dict[str, Any]:
        self._require_alone()
        epoch, reclaimed = aftermath.adopt()
        return {"file": None, "epoch": epoch, "reclaimed": reclaimed, "erasures": []} | _counts()

    def _index(self, options: dict[str, Any]) -> aftermath.Index:
        try:
            with empty_index(self._say):
                return aftermath.rebuild_index(quiet=options["json"])
        except StartError as error:
            return aftermath.Index({}, str(error))

    def _confirm(self, options: dict[str, Any]) -> None:
        memories = database.count_memories()
        if options["yes"] or not memories:
            return
        question = f"The database holds {counted(memories, 'memory', 'memories')}, which the backup replaces."
        if not sys.stdin.isatty():
            raise WrongUse(f"{question} Confirm it with --yes.")
        if input(f"{question} Type yes to go on: ").strip().lower() != "yes":
            raise CommandError("Nothing was changed.")

    def _require_alone(self) -> None:
        if found := sessions.others():
            raise CommandError(
                f"{counted(len(found), 'other session')} connected to the database: "
                f"{'; '.join(found[:5])}. Stop web servers, clusters and everything else first. Nothing was changed."
            )

    def _text(self, answer: dict[str, Any]) -> str:
        index = answer["index"]
        memories = counted(answer["memories"], "memory", "memories")
        lines = [
            f"The database holds {memories} and {counted(answer['pending'], 'waiting event')}.",
            f"Live updates continue in epoch {answer['epoch']}.",
        ]
        if index:
            lines.append(
                f"The index was rebuilt: {counted(index['memories'], 'memory', 'memories')}, "
                f"{index['embedded']:,} embedded."
            )
        if answer["erasures"]:
            lines.append(
                f"Erasures that are younger than the backup are requested again: {len(answer['erasures'])}. "
                "The cluster carries them out when it starts; GET /erasures tells how far they are."
            )
        lines.append("Start web server and cluster again.")
        return "\n".join(lines)

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr)


def _counts() -> dict[str, int]:
    from outbox.models import open_events

    return {"memories": MemoryLog.objects.count(), "pending": open_events().count()}
