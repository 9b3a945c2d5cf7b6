"""The sync status of a memory: pending, embedded, indexed or failed.

It is computed from the row and from the events that the outbox still holds for it, in the query that reads the row.
"""

from functools import cache
from typing import Any

from django.db import connection, models
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
# Stands for the id of a memory in a query that is compiled once.
ANY_ID = -1


def with_sync_status(rows: "QuerySet[MemoryLog, Any]") -> "QuerySet[MemoryLog, Any]":
    """Annotate each row with `sync_status`, and with `sync_error`: the last error, or None."""
    return rows.alias(**_errors()).annotate(
        sync_error=models.functions.Coalesce(F("failure"), F("trouble")),
        sync_status=Case(
            When(~UNINDEXED, then=Value(SyncStatus.INDEXED)),
            When(failure__isnull=False, then=Value(SyncStatus.FAILED)),
            When(embedded_hash=F("content_hash"), then=Value(SyncStatus.EMBEDDED)),
            default=Value(SyncStatus.PENDING),
            output_field=models.TextField(),
        ),
    )


def set_sync_status(row: MemoryLog) -> MemoryLog:
    """Set on a row what `with_sync_status` computes. For an indexed memory this needs no query."""
    failure, trouble = (None, None) if row.indexed_version == row.version else _errors_of(row.id)
    return _annotate(row, _status(row, is_dead=failure is not None), failure or trouble)


def set_changed(row: MemoryLog) -> MemoryLog:
    """Set the sync status of a row that was just changed. Errors of its earlier versions no longer count."""
    return _annotate(row, _status(row, is_dead=False), None)


def _status(row: MemoryLog, *, is_dead: bool) -> SyncStatus:
    """The same decision as in `with_sync_status`."""
    if row.indexed_version == row.version:
        return SyncStatus.INDEXED
    if is_dead:
        return SyncStatus.FAILED
    return SyncStatus.EMBEDDED if row.embedded_hash == row.content_hash else SyncStatus.PENDING


def _annotate(row: MemoryLog, status: SyncStatus, error: str | None) -> MemoryLog:
    row.sync_status, row.sync_error = status, error  # type: ignore[attr-defined]  # annotations of the query
    return row


def _errors_of(memory_id: int) -> tuple[str | None, str | None]:
    """The last errors of the memory's dead letter and of its retried event; a deleted memory has none."""
    sql, parameters = _errors_query()
    with connection.cursor() as cursor:
        cursor.execute(sql, [memory_id if value == ANY_ID else value for value in parameters])
        return cursor.fetchone() or (None, None)


@cache
def _errors_query() -> tuple[str, tuple[Any, ...]]:
    """Django takes 3 ms to compile this query, ten times as long as PostgreSQL takes to run it."""
    errors = _errors()
    rows = MemoryLog.objects.filter(id=ANY_ID).order_by().values_list(errors["failure"], errors["trouble"])
    return rows.query.sql_with_params()


def filter_by_status(rows: "QuerySet[MemoryLog, Any]", status: str) -> "QuerySet[MemoryLog, Any]":
    """The rows with this sync status. `rows` comes from `with_sync_status`."""
    if status == SyncStatus.INDEXED:
        return rows.filter(indexed_version=F("version"))
    return rows.filter(UNINDEXED, sync_status=status)  # type: ignore[misc]  # the annotation


def _errors() -> dict[str, Case]:
    """Expressions for the last errors of a memory that is not indexed."""
    return {
        "failure": Case(When(UNINDEXED, then=Subquery(_dead().values("last_error")[:1]))),
        "trouble": Case(When(UNINDEXED, then=Subquery(_retrying().values("last_error")[:1]))),
    }


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
