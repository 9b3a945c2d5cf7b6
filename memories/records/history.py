"""How long the versions of deleted memories are kept."""

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from memories.models import MemoryLog, MemoryVersion

# Memories whose versions one statement deletes.
BATCH = 500


def prune(*, seconds: float = float("inf")) -> int:
    """Delete the versions of memories that were deleted more than HISTORY_RETENTION_DAYS ago.

    Stops after about `seconds`. Returns the number of versions deleted; 0 where they are kept for ever.
    """
    if settings.HISTORY_RETENTION_DAYS is None:
        return 0
    deadline, pruned = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        ids = _pruned_next()
        if not ids:
            break
        pruned += MemoryVersion.objects.filter(pgh_obj_id__in=ids)._raw_delete("default")  # noqa: SLF001
    return pruned


def _pruned_next() -> list[int]:
    kept = timedelta(days=settings.HISTORY_RETENTION_DAYS or 0)
    restored = MemoryLog.objects.filter(id=OuterRef("pgh_obj_id"))
    gone = MemoryVersion.objects.filter(
        ~Exists(restored), pgh_label="deleted", pgh_created_at__lte=Now() - kept
    )
    return list(gone.order_by("pgh_created_at").values_list("pgh_obj_id", flat=True)[:BATCH])
