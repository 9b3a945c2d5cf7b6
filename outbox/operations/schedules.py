"""Schedules: functions that the cluster runs at intervals.

An app registers its schedules in `AppConfig.ready`. Every migrate creates the missing ones. A worker may run the
registered functions (see outbox.cluster.allowed_tasks).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from outbox.cluster import allowed_tasks

Minutes = int | Callable[[], int]


@dataclass(frozen=True)
class RegisteredSchedule:
    """A schedule as its app registers it."""

    name: str
    function: str
    minutes: Minutes
    kwargs: str = ""


_registered: dict[str, RegisteredSchedule] = {}


def register_schedule(name: str, function: str, *, minutes: Minutes, kwargs: str = "") -> None:
    """Have the cluster run a function at intervals, under a unique name.

    `function`: its dotted path. It must end within the timeout of a task.
    `minutes`: the interval. A number is only the default: a person may change it in the database. A function, which
    reads a setting, is authoritative: every migrate sets the interval to its value.
    `kwargs`: the keyword arguments of the function, as text: "seconds=30".

    Raises ValueError if the name is already registered for another function.
    """
    registered = _registered.setdefault(name, RegisteredSchedule(name, function, minutes, kwargs))
    if registered.function != function:
        raise ValueError(f"The schedule {name!r} is already registered for {registered.function}.")
    allowed_tasks.allow(function)


def registered_names() -> list[str]:
    """The names of the registered schedules."""
    return sorted(_registered)


def ensure_schedules(**_: Any) -> None:
    """Create the registered schedules that are missing. Runs after every migrate.

    A person's changes stay, except for an interval that a setting owns. To stop a schedule, set its repeats to 0: the
    next migrate creates a deleted schedule again.
    """
    # `migrate outbox` alone may run before django-q2 has its tables.
    if "django_q_schedule" in connection.introspection.table_names():
        for registered in _registered.values():
            _ensure(registered)


def _ensure(registered: RegisteredSchedule) -> None:
    from django_q.models import Schedule

    owned = {"minutes": registered.minutes()} if callable(registered.minutes) else {}
    created = {
        "func": registered.function,
        "kwargs": registered.kwargs,
        "schedule_type": Schedule.MINUTES,
        "minutes": registered.minutes,
        **owned,
    }
    Schedule.objects.update_or_create(name=registered.name, defaults=owned, create_defaults=created)
