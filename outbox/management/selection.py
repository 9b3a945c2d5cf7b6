"""Arguments with which a command selects events."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from outbox.management.command import WrongUse
from outbox.models import Event


def add_selection(parser: CommandParser) -> None:
    parser.add_argument("--all", action="store_true", help="every event")
    parser.add_argument(
        "--type", action="append", metavar="TYPE", help="events of this type; may be repeated"
    )
    parser.add_argument("--id", action="append", type=int, metavar="ID", help="this event; may be repeated")


def select(options: Mapping[str, Any], *filters: str) -> QuerySet[Event]:
    """The events that the options select. `filters`: further options that the caller applies itself.

    Raises WrongUse if the options select nothing or contradict each other.
    """
    named = [name for name in ("type", "id", *filters) if options[name] is not None]
    choices = ", ".join(f"--{name}" for name in ("all", "type", "id", *filters))
    if not options["all"] and not named:
        raise WrongUse(f"Which events? Give one of {choices}.")
    if options["all"] and named:
        raise WrongUse(f"--all and --{named[0]} contradict each other.")
    events = Event.objects.all()
    if options["type"] is not None:
        events = events.filter(type__in=options["type"])
    if options["id"] is not None:
        events = events.filter(pk__in=options["id"])
    return events


def moment(text: str) -> datetime:
    """Read a date or a time in ISO 8601 form. Without an offset it is in TIME_ZONE.

    Raises ArgumentTypeError if the text is neither.
    """
    try:
        day = parse_date(text)
        found = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T12:00:00Z")
    return found if timezone.is_aware(found) else timezone.make_aware(found)
