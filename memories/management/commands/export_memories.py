"""`export_memories`: everything of a user or project as a file of JSON lines."""

import sys
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from memories.api.exports import Cursor, Export
from memories.auth.access import Access
from memories.management.index_command import IndexCommand
from memories.models import MemoryLog
from outbox.counting import counted


class Command(IndexCommand):
    help = (
        "Write the memories of all users, of one user or of one project to a file, a JSON object a line, as the API "
        "answers them. `load_memories` takes the file back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--output", required=True, metavar="FILE", help="a path, or - for standard output"
        )
        parser.add_argument("--versions", action="store_true", help="with all versions of each memory")
        parser.add_argument("--embeddings", action="store_true", help="with the vectors")
        parser.add_argument(
            "--conversations", action="store_true", help="conversations with their turns, too"
        )

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        self.require_tenants(scope)
        chosen = {name: options[name] for name in ("versions", "embeddings", "conversations")}
        export = Export(access=Access(scope.user_id, scope.project_id), **chosen)
        total = scope.of(MemoryLog.objects.all()).count()
        if options["output"] == "-":
            _write(export, sys.stdout.buffer, total)
            return
        count = self._to_file(export, Path(options["output"]), total)
        self.answer(
            options,
            {"lines": count, "file": options["output"]},
            f"{counted(count, 'line')} in {options['output']}.",
        )

    def _to_file(self, export: Export, path: Path, total: int) -> int:
        """Under another name until it is complete: a file of that name is always whole."""
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:
                count = _write(export, file, total)
            part.replace(path)
        except OSError as error:
            raise CommandError(f"Cannot write {path}: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return count


def _write(export: Export, file: IO[bytes], total: int) -> int:
    count = 0
    following: Cursor | None = Cursor()
    with tqdm(total=total, unit=" memories", disable=None) as bar:
        while following is not None:
            lines, following = export.page(following)
            file.writelines(line + b"\n" for line in lines)
            count += len(lines)
            bar.update(len(lines))
    return count
