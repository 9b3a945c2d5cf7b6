"""`outbox_resume`: end what `outbox_pause`, or a person in the admin, began."""

from typing import Any

from django.core.management.base import CommandParser

from outbox.management.command import OutboxCommand, operator
from outbox.management.holding import add_names, check_names
from outbox.operations import pauses


class Command(OutboxCommand):
    help = (
        "End the pause of an event type, or of a dependency: its events are delivered again at once. The circuit of a "
        "dependency is closed too, so the next event finds out whether it answers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_names(parser)

    def handle(self, *_args: object, **options: Any) -> None:
        check_names(options)
        by = operator()
        resumed = {type: pauses.resume_type(type, by=by) for type in options["type"]}
        resumed |= {name: pauses.release(name, by=by) for name in options["dependency"]}
        self.answer(
            options,
            {"resumed": [name for name, was_paused in resumed.items() if was_paused]},
            "\n".join(
                f"{name} is resumed. Its events go on." if was_paused else f"{name} was not paused."
                for name, was_paused in resumed.items()
            ),
        )
