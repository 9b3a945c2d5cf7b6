"""`outbox_pause`: let the events of a type, or those that need a dependency, wait."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from outbox.management.command import OutboxCommand, WrongUse, operator
from outbox.management.holding import add_names, check_names
from outbox.operations import pauses


class Command(OutboxCommand):
    help = (
        "Let no event of a type, or none that needs a dependency, be delivered until outbox_resume. The events wait "
        "and lose no attempt. A pause outlives every restart. What a worker has in hand is finished."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_names(parser)
        parser.add_argument("--minutes", type=float, help="end the pause by itself after this time")
        parser.add_argument("--reason", default="", help="kept, and shown to everybody who looks")

    def handle(self, *_args: object, **options: Any) -> None:
        check_names(options)
        if options["minutes"] is not None and options["minutes"] <= 0:
            raise WrongUse(f"--minutes is {options['minutes']:g}. Give more than 0, or leave it out.")
        pause = None if options["minutes"] is None else timedelta(minutes=options["minutes"])
        decision: dict[str, Any] = {"by": operator(), "reason": options["reason"], "pause": pause}
        for type in options["type"]:
            pauses.pause_type(type, **decision)
        for dependency in options["dependency"]:
            pauses.hold(dependency, **decision)
        names = [*options["type"], *options["dependency"]]
        end = "until outbox_resume" if pause is None else f"for {options['minutes']:g} minutes"
        self.answer(
            options,
            {"paused": names},
            "\n".join(f"{name} is paused {end}. Its events wait and lose no attempt." for name in names),
        )
