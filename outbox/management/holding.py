"""Arguments with which `outbox_pause` and `outbox_resume` name event types and dependencies."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from outbox.management.command import WrongUse
from outbox.models import Circuit
from outbox.registry import dependencies, handled_types


def add_names(parser: CommandParser) -> None:
    parser.add_argument(
        "--type", action="append", default=[], metavar="TYPE", help="this event type; may be repeated"
    )
    parser.add_argument(
        "--dependency",
        action="append",
        default=[],
        metavar="NAME",
        help="this dependency, and so every event type that needs it; may be repeated",
    )


def check_names(options: Mapping[str, Any]) -> None:
    """Raises WrongUse if nothing is named, or something that no handler and no circuit knows."""
    if not options["type"] and not options["dependency"]:
        raise WrongUse("Which one? Give --type or --dependency.")
    _check("event type", options["type"], handled_types())
    circuits = {circuit.dependency for circuit in Circuit.objects.all() if not circuit.is_event_type}
    _check("dependency", options["dependency"], sorted(circuits | set(dependencies())))


def _check(noun: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise WrongUse(f"There is no {noun} {name!r}. Known: {', '.join(known) or 'none'}.")
