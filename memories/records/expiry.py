"""Expired memories: reads stop at once, and a schedule deletes the rows."""

import logging
import time
from collections.abc import Sequence

from django.db import transaction

import outbox
from memories.event_types import AGGREGATE
from memories.models import MemoryLog, StatementTime
from memories.records import services
from memories.records.halves import Refused, write_in_halves

logger = logging.getLogger(__name__)

BATCH = 500
EXPIRED = "memory_log.expired"


def purge(*, seconds: float = float("inf")) -> int:
    """Delete expired memories, each with `memory_log.deleted` for the index and `memory_log.expired` for listeners.

    Stops after about `seconds`. A memory that PostgreSQL does not delete is logged. Returns how many were deleted.
    """
    deadline, purged = time.monotonic() + seconds, 0
    refused: set[int] = set()
    while time.monotonic() < deadline:
        rows = MemoryLog.objects.filter(expires_at__lte=StatementTime()).exclude(id__in=refused)
        ids = list(rows.order_by("expires_at").values_list("id", flat=True)[:BATCH])
        for part in write_in_halves(_purge_batch, ids):
            if isinstance(part, Refused):
                logger.error("The expired memory %d cannot be deleted: %s", *part)
                refused.add(part.item)
            else:
                purged += part.result
        if len(ids) < BATCH:
            break
    return purged


def _purge_batch(ids: Sequence[int]) -> int:
    with transaction.atomic():
        # SKIP LOCKED: a memory that somebody changes now, perhaps its expiry, is left for the next run.
        rows = MemoryLog.objects.filter(id__in=ids, expires_at__lte=StatementTime()).order_by("id")
        expired = list(rows.select_for_update(skip_locked=True).defer("embedding", "raw_data"))
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
