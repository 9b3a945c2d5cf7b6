"""What the commands about the index share: whose index, `--json`, and words for an outage."""

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from memories.index.collections import IndexMismatch
from memories.index.scope import Scope
from outbox import Unavailable
from outbox.management.command import OutboxCommand, WrongUse

# A provider that says how long to wait is waited for, up to this many seconds.
LONGEST_WAIT = 120.0


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

    def through_waits(self, run: Callable[[], object]) -> None:
        """Run it, again after each wait that a provider asks for. Raises Unavailable when it says no time."""
        while True:
            try:
                run()
            except Unavailable as unavailable:
                if unavailable.retry_after is None or unavailable.retry_after > LONGEST_WAIT:
                    raise
                self.stderr.write(f"{unavailable}; waiting {unavailable.retry_after:.0f} s, as it asks.")
                time.sleep(unavailable.retry_after)
            else:
                return

    def scope(self, options: dict[str, Any]) -> Scope:
        """Raises WrongUse."""
        if options["project_id"] is not None and options["user_id"] is None:
            raise WrongUse("--project-id needs --user-id: projects of two users may bear the same name.")
        return Scope(options["user_id"], options["project_id"])
