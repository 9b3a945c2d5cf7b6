"""Reads of memories: as they are now, and as they were."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from memories.event_types import AGGREGATES
from memories.models import MemoryLog, MemoryVersion
from memories.records.sync_status import set_sync_status, with_sync_status
from outbox.models import Event

Memories = QuerySet[MemoryLog, Any]
Versions = QuerySet[MemoryVersion, Any]


def memories(*, embedding: bool = False) -> Memories:
    """All memories with their sync status. A vector is a hundred times the rest, so it is read only on request."""
    rows = with_sync_status(MemoryLog.objects.unexpired())
    return rows if embedding else rows.defer("embedding")


def memory(rows: Memories, memory_id: int) -> MemoryLog:
    """One memory of `rows` with its sync status. Raises MemoryLog.DoesNotExist."""
    return set_sync_status(rows.get(id=memory_id))


def versions(memory_id: int) -> Versions:
    """Every state of the memory, oldest first. A deleted memory has its states still."""
    rows: Versions = MemoryVersion.objects.filter(pgh_obj=memory_id)
    return rows.order_by("pgh_id")


def memories_at(moment: datetime) -> Versions:
    """The state that each memory had at that moment, for the memories that existed then."""
    later = MemoryVersion.objects.filter(
        pgh_obj=OuterRef("pgh_obj"), pgh_id__gt=OuterRef("pgh_id"), pgh_created_at__lte=moment
    )
    states: Versions = MemoryVersion.objects.filter(~Exists(later), pgh_created_at__lte=moment)
    return states.exclude(pgh_label="deleted")


def events_of(memory_id: int, *, limit: int = 20) -> QuerySet[Event, Any]:
    """The newest events of the memory: those of its text and those of its vector."""
    events = Event.objects.filter(aggregatetype__in=AGGREGATES, aggregateid=str(memory_id))
    return events.defer("payload").order_by("-id")[:limit]
