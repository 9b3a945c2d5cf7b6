"""Repeating erasures after a restore: a backup brings back what was erased after it was taken."""

from typing import Any

from django.db import connection, transaction

import outbox
from memories.erasure.request import REQUESTED, publish
from memories.erasure.scope import newest_id
from memories.models import Erasure

# What makes a receipt, and what makes it the same one in a backup.
REQUEST = (
    *("user_id", "project_id", "memory_log_ids", "conversation_ids", "api_keys", "requested_by"),
    "requested_at",
)


def receipts() -> list[dict[str, Any]]:
    """All requests of the database as it is, to be kept over a restore. None where it has no tables yet."""
    if Erasure._meta.db_table not in connection.introspection.table_names():  # noqa: SLF001
        return []
    return list(Erasure.objects.order_by("id").values(*REQUEST))


def repeat(kept: list[dict[str, Any]]) -> list[int]:
    """Request again what the restored database has no receipt of; returns the ids of the new receipts.

    Each covers what its first request covered: all memories of the backup, because the backup is older.
    """
    known = set(Erasure.objects.values_list("user_id", "requested_at"))
    repeated = []
    for request in kept:
        if (request["user_id"], request["requested_at"]) in known:
            continue
        with transaction.atomic():
            erasure = Erasure.objects.create(**request, through_id=newest_id())
            publish(erasure, REQUESTED, priority=outbox.INTERACTIVE)
        repeated.append(erasure.pk)
    return repeated
