"""Reads: memories as they are, and as they were."""

from datetime import datetime
from typing import Any, cast

from django.db.models import Exists, OuterRef, QuerySet
from pgvector.django import CosineDistance

from memories.event_types import AGGREGATES
from memories.models import MemoryLog, MemoryVersion
from memories.records.sync_status import indexed, with_progress
from outbox.models import Event

Memories = QuerySet[MemoryLog, Any]
Versions = QuerySet[MemoryVersion, Any]


def memories(*, embedding: bool = False) -> Memories:
    """Every memory with its progress; the vectors (a hundred times the rest) only where asked for."""
    rows = with_progress(MemoryLog.objects.all())
    return rows if embedding else rows.defer("embedding")


def memory(rows: Memories, memory_id: int) -> MemoryLog:
    """One of `rows`, with its progress. That takes a larger query, made only where there is something to tell.

    Raises MemoryLog.DoesNotExist.
    """
    row: MemoryLog = rows.get(id=memory_id)
    if row.indexed_version == row.version:
        return indexed(row)
    return cast(MemoryLog, with_progress(rows).get(id=memory_id))


def versions(memory_id: int) -> Versions:
    """Every state that the memory had, oldest first; of a deleted one, too."""
    found: Versions = MemoryVersion.objects.filter(pgh_obj=memory_id)
    return found.order_by("pgh_id")


def memories_at(moment: datetime) -> Versions:
    """The state that each memory had at that moment: of those that lived then, deleted since or not."""
    later = MemoryVersion.objects.filter(
        pgh_obj=OuterRef("pgh_obj"), pgh_id__gt=OuterRef("pgh_id"), pgh_created_at__lte=moment
    )
    states: Versions = MemoryVersion.objects.filter(~Exists(later), pgh_created_at__lte=moment)
    return states.exclude(pgh_label="deleted")


def events_of(memory_id: int, *, limit: int = 20) -> QuerySet[Event, Any]:
    """The memory's newest events, of its text and of its vector."""
    found = Event.objects.filter(aggregatetype__in=AGGREGATES, aggregateid=str(memory_id))
    return found.defer("payload").order_by("-id")[:limit]


def similar_to(row: MemoryLog, *, limit: int = 5) -> "QuerySet[MemoryLog, Any]":
    """The tenant's memories nearest to this one, exactly, with their `similarity`; none without an embedding."""
    if row.embedding is None:
        return MemoryLog.objects.none()
    near = MemoryLog.objects.filter(
        user_id=row.user_id, project_id=row.project_id, embedding_model=row.embedding_model
    ).exclude(pk=row.pk)
    distance = CosineDistance("embedding", row.embedding)
    return near.annotate(similarity=1 - distance / 2.0).defer("embedding").order_by(distance)[:limit]
