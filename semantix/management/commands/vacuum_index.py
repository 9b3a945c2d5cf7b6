"""`vacuum_index`: remove deleted text from the files of the embedded Chroma."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from outbox.management.command import OutboxCommand
from semantix.allinone import chroma, vacuum
from semantix.allinone.errors import StartError


class Command(OutboxCommand):
    help = (
        "Vacuum the folder of the embedded Chroma (CHROMADB_PATH): text of deleted memories leaves freed pages, and "
        "the room of its vector files that is not used yet. Stop the service first; its next start after an erasure "
        "does the same. For a Chroma server of your own: stop it, and name its folder with --folder."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--folder",
            type=Path,
            help="the folder of a Chroma server that runs on this machine and is stopped now. Default: CHROMADB_PATH",
        )

    def handle(self, *_args: object, folder: Path | None, **options: Any) -> None:
        if folder is None and "CHROMA_URL" in settings.GIVEN:
            raise CommandError(
                f"CHROMA_URL names a server: {settings.CHROMA_URL}. Stop it and run `manage.py vacuum_index --folder "
                "FOLDER` on its machine, with its `persist_path` as FOLDER."
            )
        folder = folder or settings.CHROMADB_PATH
        try:
            freed = vacuum.vacuum_alone(folder, chroma.program())
        except StartError as error:
            raise CommandError(str(error)) from error
        self.answer(options, {"freed_bytes": freed}, f"Vacuumed {folder}: {freed:,} bytes freed.")
