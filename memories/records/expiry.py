"""Expired memories: reads stop at once, and a schedule deletes the rows."""

import time

from django.db import transaction

import outbox
from memories.event_types import AGGREGATE
from memories.models import MemoryLog, StatementTime
from memories.records import services

BATCH = 500
EXPIRED = "memory_log.expired"


def purge(*, seconds: float = float("inf")) -> int:
    """Delete expired memories, each with `memory_log.deleted` for the index and `memory_log.expired` for listeners.

    Stops after about `seconds`. Returns how many were deleted.
    """
    deadline, purged = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        batch = _purge_batch()
        purged += batch
        if batch < BATCH:
            break
    return purged


def _purge_batch() -> int:
    with transaction.atomic():
        # SKIP LOCKED: a memory that somebody changes now, perhaps its expiry, is left for the next run.
        rows = MemoryLog.objects.filter(expires_at__lte=StatementTime()).order_by("expires_at")
        expired = list(rows.select_for_update(skip_locked=True).defer("embedding", "raw_data")[:BATCH])
        services.delete_memories([row.id for row in expired])
        outbox.publish_many(_event(row) for row in expired)
    return len(expired)


def _event(row: MemoryLog) -> outbox.NewEvent:
    return outbox.NewEvent(
        type=EXPIRED,
        aggregatetype=AGGREGATE,
        aggregateid=row.id,
        payload={"memory_id": row.id, "user_id": row.user_id, "project_id": row.project_id},
    )
