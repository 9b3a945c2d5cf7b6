"""What the commands about the index share: whose index, `--json`, and words for an outage."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.management.base import CommandError, CommandParser

from memories.index.client import DEPENDENCY as CHROMA
from memories.index.collections import IndexMismatch
from memories.tenants import Scope
from outbox import Unavailable
from outbox.management.command import OutboxCommand, WrongUse

Result = TypeVar("Result")

# A provider that says how long to wait is waited for, up to this many seconds.
LONGEST_WAIT = 120.0
# Chroma says nothing when it is started again: it is looked for so many times, after a pause of so many seconds.
LOOKS = 10
PAUSE = 1.0


class IndexCommand(OutboxCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user-id", help="only this user's memories")
        parser.add_argument("--project-id", help="only this project of that user")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (Unavailable, IndexMismatch) as error:
            raise CommandError(f"{error}\nWhat was done is kept: run the command again to go on.") from error

    def through_waits(self, run: Callable[[], Result]) -> Result:
        """Run it, again after each wait that a provider asks for, or while Chroma may be coming back.

        Raises Unavailable when that is too long.
        """
        looks = LOOKS
        while True:
            try:
                return run()
            except Unavailable as unavailable:
                seconds = unavailable.retry_after
                if seconds is None and unavailable.dependency == CHROMA and looks:
                    looks, seconds = looks - 1, PAUSE
                if seconds is None or seconds > LONGEST_WAIT:
                    raise
                self.stderr.write(f"{unavailable}; trying again in {seconds:.0f} s.")
                time.sleep(seconds)

    def scope(self, options: dict[str, Any]) -> Scope:
        """Raises WrongUse."""
        if options["project_id"] is not None and options["user_id"] is None:
            raise WrongUse("--project-id needs --user-id: projects of two users may bear the same name.")
        return Scope(options["user_id"], options["project_id"])

    def require_somebody(self, scope: Scope) -> None:
        """Raises CommandError where a name was misspelt, most likely."""
        if not scope.is_everything and not scope.tenants():
            raise CommandError(f"There are no memories of {_whose(scope)}: nothing was done.")


def _whose(scope: Scope) -> str:
    user = f"user {scope.user_id!r}"
    return user if scope.project_id is None else f"project {scope.project_id!r} of {user}"
