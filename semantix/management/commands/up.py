"""`manage.py up`: run the whole service on this machine, in one terminal."""

from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError

from memories.embeddings import MisconfiguredError, get_backend
from semantix.allinone.errors import StartError
from semantix.allinone.run import run


class Command(BaseCommand):
    help = (
        "Start Postgres with pgvector, Chroma, the cluster and the web server; Ctrl-C stops all of them. "
        "Set DATABASE_URL or CHROMA_URL to use servers of your own instead."
    )
    # The checks need the database, which this command starts first.
    requires_system_checks = ()

    def handle(self, *_args: object, **_options: object) -> None:
        try:
            get_backend()  # refuse a wrong embedder now, not when the cluster starts
            run(self._say)
        except MisconfiguredError as error:
            raise CommandError(error.reason) from error
        except StartError as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be closed; stopping must continue
            self.stdout.write(line)
            self.stdout.flush()
