"""The schedule that saves idle conversations in the cluster."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from memories.conversations.flush import flush

NAME = "flush_conversations"


def run() -> dict[str, int]:
    """The function of the schedule. It stops after 30 s, below the timeout of a task; the next run continues."""
    outcome = flush(idle=timedelta(minutes=settings.CONVERSATION_IDLE_MINUTES), seconds=30)
    return vars(outcome)


def ensure_schedule(**_: Any) -> None:
    """Create the schedule after each migrate and set its interval to CONVERSATION_FLUSH_MINUTES; keep other changes.

    To stop the schedule, set its repeats to 0 in the admin; the next migrate creates a deleted schedule again.
    """
    from django_q.models import Schedule

    # `migrate memories` alone may run before django-q2 has its tables.
    if "django_q_schedule" not in connection.introspection.table_names():
        return
    interval = {"minutes": settings.CONVERSATION_FLUSH_MINUTES}
    Schedule.objects.update_or_create(
        name=NAME,
        defaults=interval,
        create_defaults={
            **interval,
            "func": "memories.conversations.schedule.run",
            "schedule_type": Schedule.MINUTES,
            "next_run": timezone.now() + timedelta(**interval),
        },
    )
