"""The base of the outbox's commands: `--json` and the exit codes.

0: done. 1: the command found or met something wrong, and says what. 2: wrong use.
"""

import getpass
import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, ProgrammingError

from outbox.conf import conf


class WrongUse(CommandError):
    """The command's arguments are wrong. The exit code is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class OutboxCommand(BaseCommand):
    """A command that answers with text, or with one JSON object under `--json`."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="answer with one JSON object")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database failed: {str(error).strip()}\n{conf.DATABASE_HINT}") from error
        except ProgrammingError as error:
            raise CommandError(
                f"The outbox's tables do not match this version: {str(error).strip()}\n"
                "Run python manage.py migrate. python manage.py outbox_doctor says more."
            ) from error

    def answer(self, options: Mapping[str, Any], data: Mapping[str, Any], text: str) -> None:
        self.stdout.write(json.dumps(data) if options["json"] else text)


def operator() -> str:
    """The account that runs the command, for the record of what it did."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the account has no name, as in some containers
        return "unknown account"
