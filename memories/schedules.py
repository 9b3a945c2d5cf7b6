"""What the cluster does by the clock for the index."""

import logging
from typing import Any

from django.db import connection

from memories.indexing import migrate, verify
from memories.records import history, idempotency
from outbox import Unavailable

logger = logging.getLogger(__name__)

# func: minutes between two runs
EVERY = {
    "memories.schedules.migrate_models": 1,
    "memories.schedules.verify_index": 10,
    "memories.schedules.forget_answers": 60,
    "memories.schedules.prune_versions": 60,
}


def ensure_schedules(**_: Any) -> None:
    """After every migrate: the schedules, unless they are there; a person's changes to them stay.

    To stop one, set its repeats to 0 in the admin; a deleted one comes back with the next migrate.
    """
    from django_q.models import Schedule

    # `migrate memories` alone may come before django-q2's tables.
    if "django_q_schedule" not in connection.introspection.table_names():
        return
    for func, minutes in EVERY.items():
        Schedule.objects.get_or_create(
            name=func.rpartition(".")[2],
            defaults={"func": func, "schedule_type": Schedule.MINUTES, "minutes": minutes},
        )


def migrate_models() -> int:
    """Begin where a tenant's model is not the settings' one; see memories.indexing.migrate."""
    try:
        return migrate.migrate_models()
    except Unavailable as unavailable:
        logger.info("No model to migrate to: %s", unavailable)
        return 0


def forget_answers() -> int:
    """Delete what was kept for requests sent again, once it is given again no longer."""
    return idempotency.forget_expired()


def prune_versions() -> int:
    """Delete the versions of memories that were deleted more than HISTORY_RETENTION_DAYS ago."""
    return history.prune(seconds=30)


def verify_index() -> dict[str, Any] | None:
    """Compare the next thousand memories with the index, and have mended what is wrong."""
    try:
        report = verify.verify_next()
    except Unavailable as unavailable:
        logger.info("The index is not verified now: %s", unavailable)
        return None
    if report["repairs"]:
        logger.warning("The index differed from PostgreSQL, and is being mended: %s", report)
    return report
