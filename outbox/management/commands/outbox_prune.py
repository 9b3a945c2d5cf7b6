"""`outbox_prune`: delete old events."""

from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from outbox.counting import counted
from outbox.management.command import OutboxCommand, WrongUse
from outbox.operations import prune


class Command(OutboxCommand):
    help = (
        "Delete delivered and discarded events older than OUTBOX_RETENTION_DAYS, in small batches. Dead letters "
        "stay. A schedule of the cluster does the same every hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--days", type=int, help="days to keep, instead of OUTBOX_RETENTION_DAYS")
        parser.add_argument("--dry-run", action="store_true", help="only say how many events it would delete")

    def handle(self, *_args: object, **options: Any) -> None:
        days = options["days"]
        if days is not None and days < 0:
            raise WrongUse(f"--days is {days}. It is the number of days to keep: give 0 or more.")
        total = prune.prunable(days=days)
        if options["dry_run"]:
            self.answer(
                options, {"dry_run": True, "pruned": total}, f"Would delete {counted(total, 'event')}."
            )
            return
        with tqdm(total=total, unit="event", disable=None) as bar:
            count = prune.prune(days=days, on_batch=bar.update)
        self.answer(options, {"dry_run": False, "pruned": count}, f"Deleted {counted(count, 'event')}.")
