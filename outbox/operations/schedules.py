"""What the cluster does by the clock for the outbox itself."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

PRUNE = "outbox_prune"


def ensure_prune_schedule(**_: Any) -> None:
    """After every migrate: a schedule that prunes hourly, unless there is one; a person's changes to it stay.

    To stop it, set its repeats to 0 in the admin; a deleted one comes back with the next migrate. Half a minute an
    hour is enough for several hundred thousand events, and stays below the timeout of a task.
    """
    from django_q.models import Schedule

    # `migrate outbox` alone may come before django-q2's tables.
    if "django_q_schedule" not in connection.introspection.table_names():
        return
    Schedule.objects.get_or_create(
        name=PRUNE,
        defaults={
            "func": "outbox.operations.prune.prune",
            "kwargs": "seconds=30",
            "schedule_type": Schedule.HOURLY,
            "next_run": timezone.now() + timedelta(hours=1),
        },
    )
