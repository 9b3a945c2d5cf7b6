"""Deleting all memories that match some filters: an operation of the outbox, a page an event."""

import logging
from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

import outbox
from memories.filters import Filters, matching
from memories.models import BulkDeletion, MemoryLog
from memories.records import services
from memories.records.halves import Refused, write_in_halves

logger = logging.getLogger(__name__)

REQUESTED = "bulk_deletion.requested"
AGGREGATE = "bulk_deletion"
PAGE = 500

Status = BulkDeletion.Status


class CountDiffers(Exception):
    """The filters match another number of memories than the caller expects."""

    def __init__(self, found: int) -> None:
        self.found = found
        super().__init__(f"The filters match {found} memories.")


def request(owner: Mapping[str, str], filters: Filters, *, confirm: int) -> BulkDeletion:
    """Record the request; the cluster carries it out.

    `owner`: user_id and project_id, as far as they are given. Memories that are stored later stay. Raises CountDiffers
    when another number of memories than `confirm` matches.
    """
    with transaction.atomic():
        rows = matching(MemoryLog.objects.unexpired().filter(**owner), filters)
        found = rows.count()
        if found != confirm:
            raise CountDiffers(found)
        through = MemoryLog.objects.aggregate(newest=Max("id"))["newest"] or 0
        deletion = BulkDeletion.objects.create(
            **owner, filters=filters.to_json(), through_id=through, total=found
        )
        _publish(deletion)
    deletion.refresh_from_db()
    return deletion


def delete_page(deletion_id: int) -> None:
    """Delete the next page, each memory with its `memory_log.deleted`, and publish the event of the page after it.

    All in one transaction under the operation's lock: a page that arrives twice deletes what is left by then. Memories
    that PostgreSQL does not delete are left to the end: the error of the first is raised when nothing else is left.
    """
    with transaction.atomic():
        deletion = BulkDeletion.objects.select_for_update().filter(pk=deletion_id).first()
        if deletion is None or deletion.status == Status.DONE:
            return
        ids = _next_ids(deletion)
        deletion.deleted += _delete(ids)
        if ids:
            deletion.status = Status.RUNNING
            _publish(deletion)
        else:
            # The filters may quote the memories, and nobody needs them now.
            deletion.status, deletion.finished_at, deletion.filters = Status.DONE, Now(), {}
        deletion.save()


def _delete(ids: Sequence[int]) -> int:
    deleted = 0
    refused: list[Refused[int]] = []
    for part in write_in_halves(services.delete_memories, ids):
        if isinstance(part, Refused):
            logger.error("The memory %d cannot be deleted: %s", *part)
            refused.append(part)
        else:
            deleted += part.result
    if refused and not deleted:
        raise refused[0].error
    return deleted


def _next_ids(deletion: BulkDeletion) -> list[int]:
    named = {"user_id": deletion.user_id, "project_id": deletion.project_id}
    owner = {name: value for name, value in named.items() if value}
    rows = MemoryLog.objects.filter(**owner, id__lte=deletion.through_id)
    matched = matching(rows, Filters.of_json(deletion.filters))
    return list(matched.order_by("id").values_list("id", flat=True)[:PAGE])


def _publish(deletion: BulkDeletion) -> None:
    outbox.publish(
        REQUESTED,
        aggregate=(AGGREGATE, deletion.pk),
        payload={"bulk_deletion_id": deletion.pk},
        priority=outbox.BULK,
    )
