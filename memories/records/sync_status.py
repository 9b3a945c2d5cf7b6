"""How far a memory has come on its way to the index: pending, embedded, indexed, or failed.

Read off the row and off what the outbox still holds of it, in the query that reads the row.
"""

from typing import Any

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast

from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.models import MemoryLog
from outbox.models import Event, Status, open_events


class SyncStatus(models.TextChoices):
    PENDING = "pending"  # its text, as it is now, has no embedding yet
    EMBEDDED = "embedded"
    INDEXED = "indexed"  # search finds this version
    FAILED = "failed"  # its newest event is a dead letter: it waits for a person


# As the partial index `memory_logs_unindexed` says it.
UNINDEXED = Q(indexed_version__isnull=True) | ~Q(indexed_version=F("version"))


def with_progress(rows: "QuerySet[MemoryLog, Any]") -> "QuerySet[MemoryLog, Any]":
    """Each row with `sync_status`, and `sync_error`: what went wrong last, where something did."""
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


def indexed(row: MemoryLog) -> MemoryLog:
    """A row that is known to be indexed, as `with_progress` would have read it."""
    row.sync_status, row.sync_error = SyncStatus.INDEXED, None  # type: ignore[attr-defined]  # its annotations
    return row


def filter_by_status(rows: "QuerySet[MemoryLog, Any]", status: str) -> "QuerySet[MemoryLog, Any]":
    """Those of `rows`, read with `with_progress`, that have come so far."""
    if status == SyncStatus.INDEXED:
        return rows.filter(indexed_version=F("version"))
    return rows.filter(UNINDEXED, sync_status=status)  # type: ignore[misc]  # the annotation


def _dead() -> "QuerySet[Event, Any]":
    """The memory's dead letters that no newer event is on its way to make good, newest first."""
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
