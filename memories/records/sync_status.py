"""The sync status of a memory: pending, embedded, indexed or failed.

It is computed from the row and from the events that the outbox still holds for it, in the query that reads the row.
"""

from typing import Any

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast

from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.models import MemoryLog
from outbox.models import Event, Status, open_events


class SyncStatus(models.TextChoices):
    """The way of a memory's newest version to the index."""

    PENDING = "pending"  # the current text has no embedding yet
    EMBEDDED = "embedded"  # it has an embedding, and search does not find it yet
    INDEXED = "indexed"  # search finds it
    FAILED = "failed"  # its newest event is a dead letter, so a person has to retry it


# The condition of the partial index `memory_logs_unindexed`.
UNINDEXED = Q(indexed_version__isnull=True) | ~Q(indexed_version=F("version"))


def with_sync_status(rows: "QuerySet[MemoryLog, Any]") -> "QuerySet[MemoryLog, Any]":
    """Annotate each row with `sync_status`, and with `sync_error`: the last error, or None."""
    failure = Case(When(UNINDEXED, then=Subquery(_dead().values("last_error")[:1])))
    trouble = Case(When(UNINDEXED, then=Subquery(_retrying().values("last_error")[:1])))
    return rows.alias(failure=failure).annotate(
        sync_error=models.functions.Coalesce(F("failure"), trouble),
        sync_status=Case(
            When(~UNINDEXED, then=Value(SyncStatus.INDEXED)),
            When(failure__isnull=False, then=Value(SyncStatus.FAILED)),
            When(embedded_hash=F("content_hash"), then=Value(SyncStatus.EMBEDDED)),
            default=Value(SyncStatus.PENDING),
            output_field=models.TextField(),
        ),
    )


def mark_indexed(row: MemoryLog) -> MemoryLog:
    """Set what `with_sync_status` computes for an indexed memory, without its query."""
    row.sync_status, row.sync_error = SyncStatus.INDEXED, None  # type: ignore[attr-defined]  # its annotations
    return row


def filter_by_status(rows: "QuerySet[MemoryLog, Any]", status: str) -> "QuerySet[MemoryLog, Any]":
    """The rows with this sync status. `rows` comes from `with_sync_status`."""
    if status == SyncStatus.INDEXED:
        return rows.filter(indexed_version=F("version"))
    return rows.filter(UNINDEXED, sync_status=status)  # type: ignore[misc]  # the annotation


def _dead() -> "QuerySet[Event, Any]":
    """The dead letters of the memory, newest first, except those that a newer open event makes good."""
    newer = open_events().filter(
        aggregatetype__in=(AGGREGATE, VECTOR_AGGREGATE),
        aggregateid=OuterRef("aggregateid"),
        id__gt=OuterRef("id"),
    )
    return _of_memory(Event.objects.filter(~Exists(newer), status=Status.DEAD))


def _retrying() -> "QuerySet[Event, Any]":
    return _of_memory(open_events().exclude(last_error=""))


def _of_memory(events: "QuerySet[Event, Any]") -> "QuerySet[Event, Any]":
    return events.filter(
        aggregatetype__in=(AGGREGATE, VECTOR_AGGREGATE),
        aggregateid=Cast(OuterRef("id"), models.TextField()),
    ).order_by("-id")
