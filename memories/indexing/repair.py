"""Having the cluster mend what a comparison found wrong: by events, like every other change of the index."""

from collections.abc import Sequence

from django.db import transaction

import outbox
from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.index import generations
from memories.index.collections import CollectionLost, check_collection
from memories.indexing import fill, sync
from memories.models import Generation, MemoryLog
from outbox import NewEvent

DOCUMENTS_AN_EVENT = 500


def memories(memory_ids: Sequence[int]) -> int:
    """Have these embedded, where they are not, and indexed; returns how many events that took."""
    if not memory_ids:
        return 0
    with transaction.atomic():
        rows = list(MemoryLog.objects.filter(id__in=memory_ids))
        live = generations.get_or_create(row.tenant for row in rows)
        return len(outbox.publish_many(_mending(row, live[row.tenant].write_target) for row in rows))


def embeddings(memory_ids: Sequence[int]) -> int:
    """Have these embedded anew, and indexed; returns how many events that took."""
    with transaction.atomic():
        # An embedding of no text is nobody's. The index keeps the old vector until there is another.
        MemoryLog.objects.filter(id__in=memory_ids).update(embedded_hash="")
        return memories(memory_ids)


def orphans(generation: Generation, documents: Sequence[str]) -> int:
    """Have these documents removed."""
    parts = [
        documents[start : start + DOCUMENTS_AN_EVENT]
        for start in range(0, len(documents), DOCUMENTS_AN_EVENT)
    ]
    with transaction.atomic():
        for part in parts:
            outbox.publish(
                "vector.orphaned",
                aggregate=(generations.AGGREGATE, generation.pk),
                payload={"generation_id": generation.pk, "document_ids": list(part)},
                priority=outbox.BULK,
            )
    return len(parts)


def unknown_collections(names: Sequence[str]) -> int:
    """Have these collections removed."""
    with transaction.atomic():
        for name in names:
            outbox.publish(
                "index.retired",
                aggregate=(generations.AGGREGATE, name),
                payload={"generation_id": None, "collection": name},
                priority=outbox.BULK,
            )
    return len(names)


def lost(found: CollectionLost) -> int:
    """Have a collection that Chroma lost filled anew, or a damaged one replaced."""
    fill.refill(found)
    return 1


def check_all() -> None:
    """Have the cluster look what Chroma lost: for who knows that it came back, perhaps without its folder."""
    with transaction.atomic():
        outbox.publish("index.doubted", aggregate=(generations.AGGREGATE, "all"), payload={})


def all_lost() -> int:
    """Look for the collection of every tenant, and have those filled anew that are gone; returns how many.

    Raises Unavailable.
    """
    count = 0
    for generation in Generation.objects.exclude(state=Generation.State.RETIRED).exclude(chroma_id=None):
        try:
            check_collection(generation)
        except CollectionLost as found:
            count += lost(found)
    return count


def outdated(row: MemoryLog) -> NewEvent:
    """Have an embedded memory indexed."""
    return _event("vector.outdated", VECTOR_AGGREGATE, row)


def _mending(row: MemoryLog, target: Generation) -> NewEvent:
    if sync.is_embedded(row, target):
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
