"""`vacuum_index`: remove deleted text from the freed pages of the embedded Chroma's database."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from outbox.management.command import OutboxCommand
from semantix.allinone import chroma, vacuum
from semantix.allinone.errors import StartError


class Command(OutboxCommand):
    help = (
        "Vacuum the folder of the embedded Chroma (CHROMADB_PATH): text of deleted memories leaves its freed pages. "
        "Stop the service first; its next start after an erasure does the same. For a Chroma server of your own: stop "
        "it, run `chroma vacuum --path FOLDER`, start it."
    )

    def handle(self, *_args: object, **options: Any) -> None:
        if "CHROMA_URL" in settings.GIVEN:
            raise CommandError(
                f"CHROMA_URL names a server: {settings.CHROMA_URL}. Stop it and run `chroma vacuum --path FOLDER` "
                "on its machine."
            )
        try:
            freed = vacuum.vacuum_alone(settings.CHROMADB_PATH, chroma.program())
        except StartError as error:
            raise CommandError(str(error)) from error
        self.answer(
            options, {"freed_bytes": freed}, f"Vacuumed {settings.CHROMADB_PATH}: {freed:,} bytes freed."
        )
