"""The base of the commands about the index: their scope, `--json`, and messages for an outage."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.management.base import CommandError, CommandParser

from memories.index.client import DEPENDENCY as CHROMA
from memories.index.collections import CollectionUnusable
from memories.tenants import Scope
from outbox import Unavailable
from outbox.management.command import OutboxCommand, WrongUse

Result = TypeVar("Result")

# A command waits as long as a provider asks for, up to this many seconds.
MAX_WAIT_SECONDS = 120.0
# While Chroma may be restarting, a command tries again this often, after pauses of this many seconds.
CHROMA_TRIES = 10
CHROMA_PAUSE_SECONDS = 1.0


class IndexCommand(OutboxCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--user-id", help="only this user's memories")
        parser.add_argument("--project-id", help="only this project of that user")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (Unavailable, CollectionUnusable) as error:
            raise CommandError(
                f"{error}\nFinished work is kept: run the command again to continue."
            ) from error

    def retry_while_unavailable(self, run: Callable[[], Result]) -> Result:
        """Call `run`, and again after each wait that a provider asks for, or while Chroma may be restarting.

        Returns its result. Raises Unavailable when the wait is too long.
        """
        tries = CHROMA_TRIES
        while True:
            try:
                return run()
            except Unavailable as unavailable:
                seconds = unavailable.retry_after
                if seconds is None and unavailable.dependency == CHROMA and tries:
                    tries, seconds = tries - 1, CHROMA_PAUSE_SECONDS
                if seconds is None or seconds > MAX_WAIT_SECONDS:
                    raise
                self.stderr.write(f"{unavailable}; trying again in {seconds:.0f} s.")
                time.sleep(seconds)

    def scope(self, options: dict[str, Any]) -> Scope:
        """Return the scope that the options name. Raises WrongUse."""
        if options["project_id"] is not None and options["user_id"] is None:
            raise WrongUse("--project-id needs --user-id: projects of two users may have the same name.")
        return Scope(options["user_id"], options["project_id"])

    def require_tenants(self, scope: Scope) -> None:
        """Raise CommandError when the scope has no tenant: a name is probably misspelt."""
        if not scope.is_everything and not scope.tenants():
            raise CommandError(f"There are no memories of {_describe(scope)}. Nothing was done.")


def _describe(scope: Scope) -> str:
    user = f"user {scope.user_id!r}"
    return user if scope.project_id is None else f"project {scope.project_id!r} of {user}"
