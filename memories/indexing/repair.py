"""Repairing what a comparison found wrong: by events, like every other change of the index."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from django.db import transaction

import outbox
from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.index import generations
from memories.index.collections import CollectionLost, check_collection
from memories.indexing import derived, fill, isolation
from memories.models import Generation, MemoryLog
from outbox import NewEvent

DOCUMENTS_PER_EVENT = 500


def repair_memories(memory_ids: Sequence[int]) -> int:
    """Publish events that embed these memories, if necessary, and index them; returns the number of events."""
    if not memory_ids:
        return 0
    with transaction.atomic():
        rows = list(MemoryLog.objects.filter(id__in=memory_ids))
        live = generations.get_or_create(row.tenant for row in rows)
        return len(outbox.publish_many(_repair_event(row, live[row.tenant].write_target) for row in rows))


def embed_again(memory_ids: Sequence[int]) -> int:
    """Publish events that embed these memories again and index them; returns the number of events."""
    with transaction.atomic():
        # No text has an empty hash, so no embedding counts as current. The index keeps the old vector until then.
        MemoryLog.objects.filter(id__in=memory_ids).update(embedded_hash="")
        return repair_memories(memory_ids)


def remove_orphans(generation: Generation, documents: Sequence[str]) -> int:
    """Publish events that delete these documents; returns the number of events."""
    parts = [
        documents[start : start + DOCUMENTS_PER_EVENT]
        for start in range(0, len(documents), DOCUMENTS_PER_EVENT)
    ]
    with transaction.atomic():
        for part in parts:
            outbox.publish(
                "vector.orphaned",
                aggregate=(generations.AGGREGATE, generation.pk),
                payload={
                    "generation_id": generation.pk,
                    "document_ids": list(part),
                    **generation.tenant._asdict(),
                },
                priority=outbox.BULK,
            )
    return len(parts)


def remove_collections(names: Sequence[str]) -> int:
    """Publish events that delete these collections; returns the number of events."""
    with transaction.atomic():
        for name in names:
            outbox.publish(
                "index.retired",
                aggregate=(generations.AGGREGATE, name),
                payload={"generation_id": None, "collection": name},
                priority=outbox.BULK,
            )
    return len(names)


def refill_lost(lost: CollectionLost) -> int:
    """Publish the event that fills a lost collection again, or a damaged one's successor; returns 1."""
    fill.refill(lost)
    return 1


def request_check(after: int = 0) -> None:
    """Publish the event that checks every collection of a generation with a larger id than `after`.

    Call it when Chroma is back, perhaps without its folder.
    """
    with transaction.atomic():
        outbox.publish("index.doubted", aggregate=(generations.AGGREGATE, "all"), payload={"after": after})


class Checked(NamedTuple):
    """How many collections were lost, and the id of the last generation checked; None after the last of all."""

    lost: int
    position: int | None


def refill_all_lost(*, after: int = 0, seconds: float = float("inf")) -> Checked:
    """Check the collection of every tenant, in the order of their generations, and have lost ones filled again.

    Stops after about `seconds`. Raises Unavailable.
    """
    deadline, count = time.monotonic() + seconds, 0
    rows = Generation.objects.filter(id__gt=after).exclude(state=Generation.State.RETIRED)
    for generation in rows.exclude(chroma_id=None).order_by("id").iterator():
        # Verification reports a collection that cannot be checked.
        with isolation.logged("the check of the collection", generation):
            try:
                check_collection(generation)
            except CollectionLost as lost:
                count += refill_lost(lost)
        if time.monotonic() >= deadline:
            return Checked(count, generation.pk)
    return Checked(count, None)


def outdated(row: MemoryLog) -> NewEvent:
    """Return the event that indexes an embedded memory."""
    return _event("vector.outdated", VECTOR_AGGREGATE, row)


def _repair_event(row: MemoryLog, target: Generation) -> NewEvent:
    if derived.is_embedded(row, target):
        return outdated(row)
    return _event("embedding.missing", AGGREGATE, row)


def _event(type: str, aggregatetype: str, row: MemoryLog) -> NewEvent:
    return NewEvent(
        type=type,
        aggregatetype=aggregatetype,
        aggregateid=row.id,
        payload={"memory_id": row.id, "user_id": row.user_id, "project_id": row.project_id},
        priority=outbox.BULK,
    )
