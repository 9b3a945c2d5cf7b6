"""Event rows in any state, and the commands that operate on them."""

import json
from datetime import timedelta
from io import StringIO
from itertools import count
from typing import Any

from django.core.management import call_command
from django.utils import timezone

from outbox.models import Event, Status

_aggregates = count(1)


def stored(
    type: str, status: Status = Status.PENDING, *, age: timedelta | None = None, **fields: Any
) -> Event:
    """Insert an event row of its own aggregate. `age`: time since it was created, due and delivered."""
    then = timezone.now() - (age or timedelta())
    times: dict[str, Any] = {"created_at": then, "available_at": then} if age else {}
    if status == Status.DELIVERED:
        times |= {"delivered_at": then, "attempts": 1}
    aggregate = {"aggregatetype": "thing", "aggregateid": str(next(_aggregates))}
    event = Event.objects.create(type=type, status=status, **{"payload": {}, **aggregate, **times, **fields})
    event.refresh_from_db()
    return event


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def answer(command: str, *arguments: str) -> Any:
    """The answer of the command with --json."""
    return json.loads(run(command, *arguments, "--json"))
