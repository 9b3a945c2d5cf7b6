"""`outbox_retry`: deliver dead letters again."""

from typing import Any

from django.core.management.base import CommandParser

from outbox.counting import counted
from outbox.management.command import OutboxCommand, operator
from outbox.management.selection import add_selection, select
from outbox.models import Status
from outbox.operations import dead_letters


class Command(OutboxCommand):
    help = (
        "Let dead letters wait for delivery again, with no attempt counted. Their failures stay on record. "
        "An event named by --id may also be a discarded one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_selection(parser)
        parser.add_argument("--error", metavar="TEXT", help="events whose last error contains the text")
        parser.add_argument("--reason", default="", help="kept with each event")
        parser.add_argument("--dry-run", action="store_true", help="only say how many events it would retry")

    def handle(self, *_args: object, **options: Any) -> None:
        events = select(options, "error")
        if options["id"] is None:
            events = events.filter(status=Status.DEAD)
        if options["error"] is not None:
            events = events.filter(last_error__icontains=options["error"])
        if options["dry_run"]:
            count = events.filter(status__in=dead_letters.RETRYABLE).count()
            self.answer(
                options, {"dry_run": True, "retried": count}, f"Would retry {counted(count, 'event')}."
            )
        else:
            count = dead_letters.retry(events=events, by=operator(), reason=options["reason"])
            self.answer(
                options,
                {"dry_run": False, "retried": count},
                f"{counted(count, 'event')} will be delivered again.",
            )
