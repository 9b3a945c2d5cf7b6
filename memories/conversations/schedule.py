"""The cluster's schedule that saves idle conversations."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from memories.conversations.flush import flush

NAME = "flush_conversations"


def run() -> dict[str, int]:
    """What the schedule calls. Half a minute stays below the timeout of a task; the rest is the next run's."""
    outcome = flush(idle=timedelta(minutes=settings.CONVERSATION_IDLE_MINUTES), seconds=30)
    return vars(outcome)


def ensure_schedule(**_: Any) -> None:
    """After every migrate: the schedule is there, every CONVERSATION_FLUSH_MINUTES; a person's other changes stay.

    To stop it, set its repeats to 0 in the admin; a deleted one comes back with the next migrate.
    """
    from django_q.models import Schedule

    # `migrate memories` alone may come before django-q2's tables.
    if "django_q_schedule" not in connection.introspection.table_names():
        return
    every = {"minutes": settings.CONVERSATION_FLUSH_MINUTES}
    Schedule.objects.update_or_create(
        name=NAME,
        defaults=every,
        create_defaults={
            **every,
            "func": "memories.conversations.schedule.run",
            "schedule_type": Schedule.MINUTES,
            "next_run": timezone.now() + timedelta(**every),
        },
    )
