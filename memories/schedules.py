"""The schedules that the cluster runs for the index."""

import logging
from typing import Any

from memories.indexing import migrate, verify
from memories.records import expiry, history, idempotency
from outbox import Unavailable
from outbox.operations.schedules import register_schedule

logger = logging.getLogger(__name__)

# Function: minutes between two runs.
INTERVALS = {
    "memories.schedules.migrate_models": 1,
    "memories.schedules.verify_index": 10,
    "memories.schedules.forget_answers": 60,
    "memories.schedules.prune_versions": 60,
    "memories.schedules.purge_expired": 1,
}


def register() -> None:
    """Have the cluster run each of these functions."""
    for function, minutes in INTERVALS.items():
        register_schedule(function.rpartition(".")[2], function, minutes=minutes)


def migrate_models() -> int:
    """Begin to migrate tenants whose model is not the settings' one. See memories.indexing.migrate."""
    try:
        return migrate.migrate_models()
    except Unavailable as unavailable:
        logger.info("The models are not migrated now: %s", unavailable)
        return 0


def forget_answers() -> int:
    """Delete expired answers to requests with an Idempotency-Key; returns how many."""
    return idempotency.forget_expired()


def purge_expired() -> int:
    """Delete the memories that have expired."""
    return expiry.purge(seconds=30)


def prune_versions() -> int:
    """Delete the versions of memories that were deleted more than HISTORY_RETENTION_DAYS ago."""
    return history.prune(seconds=30)


def verify_index() -> dict[str, Any] | None:
    """Compare the next thousand memories with the index, and have faults repaired; returns the report."""
    try:
        report = verify.verify_next(seconds=30)
    except Unavailable as unavailable:
        logger.info("The index is not verified now: %s", unavailable)
        return None
    if report["failed"]:
        logger.error("Collections could not be compared with PostgreSQL: %s", ", ".join(report["failed"]))
    if report["repairs"]:
        logger.warning("The index differed from PostgreSQL and is being repaired: %s", report)
    return report
