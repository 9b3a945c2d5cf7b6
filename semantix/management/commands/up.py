"""`manage.py up`: the whole service on this machine, in one terminal."""

from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError

from memories.embeddings import MisconfiguredError, get_backend
from semantix.allinone.errors import StartError
from semantix.allinone.run import run


class Command(BaseCommand):
    help = (
        "Start Postgres with pgvector, Chroma, the cluster and the web server, and stop them together at "
        "Ctrl-C. DATABASE_URL and CHROMA_URL name servers of yours to use instead."
    )
    # The checks look into the database, which this command starts.
    requires_system_checks = ()

    def handle(self, *_args: object, **_options: object) -> None:
        try:
            get_backend()  # the cluster would refuse it too, when all else is up
            run(self._say)
        except MisconfiguredError as error:
            raise CommandError(error.reason) from error
        except StartError as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone, and stopping must go on
            self.stdout.write(line)
            self.stdout.flush()
