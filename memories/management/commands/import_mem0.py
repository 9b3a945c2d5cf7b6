"""`import_mem0`: store memories that mem0 has exported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from memories.management.importers import ImportCommand, Line, has_expired, mem0_line, mem0_records
from outbox.counting import counted


class Command(ImportCommand):
    help = (
        "Store memories of mem0 from a file: the answers of its get_all, or an export with the fields of a memory, as "
        "JSON or as JSON lines. The id of mem0 becomes the external_id, so a file can be imported again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="a path")
        parser.add_argument("--user-id", help="the user of all memories; without it, the user_id of each")
        parser.add_argument(
            "--project-id", help="the project of all memories; without it, the app_id of each"
        )

    def handle(self, *_args: object, file: Path, **options: Any) -> None:
        """Exit code 1 when there is a bad line."""
        if not file.is_file():
            raise CommandError(f"There is no file {file}.", returncode=2)
        tenant = {name: options[name] for name in ("user_id", "project_id") if options[name]}
        bad_lines = Path(options["bad_lines"] or file.with_suffix(".bad.jsonl"))
        self.load(self._lines(file, tenant), bad_lines=bad_lines, as_json=options["json"])

    def _lines(self, file: Path, tenant: dict[str, str]) -> Iterator[Line]:
        expired = 0
        for record in mem0_records(file):
            line = mem0_line(record, tenant)
            if has_expired(line):
                expired += 1
            else:
                yield line
        if expired:
            self.stderr.write(f"{counted(expired, 'expired memory', 'expired memories')} skipped.")
