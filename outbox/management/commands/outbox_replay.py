"""`outbox_replay`: deliver events again."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from tqdm import tqdm

from outbox.counting import counted
from outbox.management.command import OutboxCommand, WrongUse, operator
from outbox.management.selection import add_selection, moment, select
from outbox.models import Event
from outbox.operations.interventions import record
from outbox.operations.replay import originals, replay, replayable
from outbox.registry import handled_types


class Command(OutboxCommand):
    help = (
        "Deliver events again at bulk priority. Each becomes a new event that copies the old one and names it in the "
        "header replay_of. Events of a type without a handler are left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_selection(parser)
        parser.add_argument("--since", type=moment, metavar="TIME", help="events created then or later")
        parser.add_argument("--until", type=moment, metavar="TIME", help="events created before")
        parser.add_argument(
            "--aggregate",
            metavar="TYPE[:ID]",
            help="events of this aggregate, or of every aggregate of the type",
        )
        parser.add_argument("--after", type=int, default=0, metavar="ID", help="continue after this event")
        parser.add_argument("--dry-run", action="store_true", help="only say how many events it would replay")

    def handle(self, *_args: object, **options: Any) -> None:
        events = _selected(options)
        total = replayable(events).count()
        if options["dry_run"]:
            self.answer(
                options, {"dry_run": True, "replayed": total}, f"Would replay {counted(total, 'event')}."
            )
            return
        count = self._replay(events, total)
        record("replayed", counted(count, "event"), by=operator())
        self.answer(
            options,
            {"dry_run": False, "replayed": count},
            f"{counted(count, 'event')} will be delivered again.",
        )

    def _replay(self, events: QuerySet[Event], total: int) -> int:
        done = reached = 0
        with tqdm(total=total, unit="event", disable=None) as bar:

            def advance(count: int, newest: int) -> None:
                nonlocal done, reached
                done, reached = done + count, newest
                bar.update(count)

            try:
                return replay(events=events, on_batch=advance)
            except KeyboardInterrupt:
                raise CommandError(
                    f"Interrupted after {done} of {counted(total, 'event')}. To continue, run the same command with "
                    f"--after {reached}"
                ) from None


def _selected(options: dict[str, Any]) -> QuerySet[Event]:
    events = select(options, "since", "until", "aggregate").filter(pk__gt=options["after"])
    for type in options["type"] or ():
        if type not in handled_types():
            raise WrongUse(f"The type {type!r} has no handler. Types with one: {', '.join(handled_types())}.")
    if options["since"] is not None:
        events = events.filter(created_at__gte=options["since"])
    if options["until"] is not None:
        events = events.filter(created_at__lt=options["until"])
    if options["aggregate"] is not None:
        aggregatetype, colon, aggregateid = options["aggregate"].partition(":")
        events = events.filter(aggregatetype=aggregatetype)
        if colon:
            events = events.filter(aggregateid=aggregateid)
    return events if options["id"] is not None else originals(events)
