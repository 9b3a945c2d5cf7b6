"""Requesting an erasure: the receipt and its event commit together, so that no crash forgets to forget."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

import outbox
from memories.erasure.scope import newest_id
from memories.models import Erasure

# The event that runs the steps in PostgreSQL, and the one that waits for Chroma.
REQUESTED, INDEX = "erasure.requested", "erasure.index"
AGGREGATE = "erasure"


def request(
    *,
    user_id: str,
    project_id: str = "",
    memory_log_ids: Sequence[int] = (),
    conversation_ids: Sequence[str] = (),
    api_keys: bool = False,
    requested_by: str,
) -> Erasure:
    """Record the request. The cluster carries it out.

    Everything that was stored before this commits is erased; what is stored later stays. With memory_log_ids or
    conversation_ids only these are erased, and only where they belong to the user (and the project, if one is named).
    """
    with transaction.atomic():
        erasure = Erasure.objects.create(
            user_id=user_id,
            project_id=project_id,
            memory_log_ids=sorted(set(memory_log_ids)),
            conversation_ids=sorted(set(conversation_ids)),
            api_keys=api_keys,
            through_id=newest_id(),
            requested_by=requested_by,
        )
        publish(erasure, REQUESTED, priority=outbox.INTERACTIVE)
    erasure.refresh_from_db()
    return erasure


def publish(erasure: Erasure, type: str, *, priority: int = outbox.BULK, delay_seconds: float = 0.0) -> None:
    """Have the cluster go on with it, by default behind what a person waits for; not before the delay is over."""
    outbox.publish(
        type,
        aggregate=(AGGREGATE, erasure.pk),
        payload={"erasure_id": erasure.pk, "user_id": erasure.user_id, "project_id": erasure.project_id},
        priority=priority,
        available_at=timezone.now() + timedelta(seconds=delay_seconds) if delay_seconds else None,
    )
