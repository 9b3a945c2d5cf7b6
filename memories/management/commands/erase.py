"""`erase`: forget a user, a project, memories or conversations, and wait until it is verified."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from memories.api.serializers.erasure import ErasureReceipt
from memories.erasure import run
from memories.erasure.request import request
from memories.management.index_command import IndexCommand
from memories.models import Erasure
from outbox.management.command import WrongUse, operator


class Command(IndexCommand):
    help = (
        "Erase everything of a user, of one project, or only named memories and conversations, from PostgreSQL, "
        "Chroma, Redis, the outbox and the caches. Waits until every store was asked again: the exit code is 0 only "
        "when nothing was found. The receipt stays and names ids only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--memory", type=int, action="append", metavar="ID", help="only this memory")
        parser.add_argument(
            "--conversation", action="append", metavar="ID", help="only this conversation; may be repeated"
        )
        parser.add_argument("--api-keys", action="store_true", help="delete the API keys as well")
        parser.add_argument("--yes", action="store_true", help="do it: nothing brings it back")

    def handle(self, *_args: object, **options: Any) -> None:
        scope = self.scope(options)
        if scope.user_id is None:
            raise WrongUse("Whose? Give --user-id, and --project-id for one project only.")
        if not options["yes"]:
            raise WrongUse("Nothing brings back what is erased. Give --yes to do it.")
        erasure = request(
            user_id=scope.user_id,
            project_id=scope.project_id or "",
            memory_log_ids=options["memory"] or (),
            conversation_ids=options["conversation"] or (),
            api_keys=options["api_keys"],
            requested_by=f"account {operator()}",
        )
        self.retry_while_unavailable(lambda: run.to_the_end(erasure.pk))
        erasure.refresh_from_db()
        self.answer(options, dict(ErasureReceipt(erasure).data), "\n".join(_lines(erasure)))
        if not erasure.verified:
            raise CommandError(
                f"Erasure {erasure.pk} is not verified: {erasure.waits_for or erasure.found}. The cluster goes on "
                f"with it; GET /erasures/{erasure.pk} tells how far it is."
            )


def _lines(erasure: Erasure) -> list[str]:
    lines = [f"erasure {erasure.pk}: {erasure.status}, {'verified' if erasure.verified else 'not verified'}"]
    for store, numbers in sorted(erasure.counts.items()):
        lines += [f"{store:<16} {name:<20} {number:>9}" for name, number in numbers.items() if number]
    return lines
