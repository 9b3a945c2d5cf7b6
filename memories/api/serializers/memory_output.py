"""Memories as the API answers them.

`serialize` and its siblings build the answers. The serializer classes declare the same shapes for the OpenAPI
document; a ModelSerializer would take eighty times as long to build an answer.
"""

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from memories.models import MemoryLog, MemoryVersion
from memories.records.sync_status import SyncStatus


def serialize(row: MemoryLog, *, embedding: bool = False) -> dict[str, Any]:
    """A memory as it is now. Its vector is included when `embedding` is True.

    A row without annotations of `with_sync_status` was just stored, so its status is pending.
    """
    return {
        "id": row.id,
        **_content(row),
        "duplicate_of": row.duplicate_of,
        "similar_to": row.similar_to,
        "expires_at": format_time(row.expires_at),
        "embedding": row.embedding if embedding else None,
        "sync": serialize_sync(row),
    }


def serialize_sync(row: MemoryLog) -> dict[str, Any]:
    """How far the memory has come on its way to the index."""
    return {
        "status": str(getattr(row, "sync_status", SyncStatus.PENDING)),
        "version": row.version,
        "indexed_version": row.indexed_version,
        "embedded_at": format_time(row.embedded_at),
        "indexed_at": format_time(row.indexed_at),
        "error": getattr(row, "sync_error", None),
    }


def serialize_state(state: MemoryVersion) -> dict[str, Any]:
    """A memory as it was at some moment. Its versions do not keep the other fields."""
    return {
        "id": state.pgh_obj_id,
        **_content(state),
        **dict.fromkeys(("duplicate_of", "similar_to", "expires_at", "embedding", "sync")),
    }


def serialize_version(state: MemoryVersion) -> dict[str, Any]:
    """One version of a memory: what made it, when, and its content."""
    return {
        "change": state.pgh_label,
        "changed_at": format_time(state.pgh_created_at),
        "id": state.pgh_obj_id,
        **_content(state),
    }


def _content(row: MemoryLog | MemoryVersion) -> dict[str, Any]:
    return {
        "task": row.task,
        "agent": row.agent,
        "date": row.date.isoformat(),
        "user_id": row.user_id,
        "project_id": row.project_id,
        "raw_data": row.raw_data,
        "external_id": row.external_id,
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
        "version": row.version,
    }


def format_time(at: datetime | None) -> str | None:
    """A time in ISO 8601, in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Sync(serializers.Serializer[MemoryLog]):
    """How far a memory has come on its way to the index."""

    status = serializers.ChoiceField(choices=SyncStatus.choices)
    version = serializers.IntegerField(help_text="the current version")
    indexed_version = serializers.IntegerField(allow_null=True, help_text="the version that search finds")
    embedded_at = serializers.DateTimeField(allow_null=True)
    indexed_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(allow_null=True, help_text="the last error")


class MemoryLogOutput(serializers.ModelSerializer[MemoryLog]):
    """A memory. `embedding` is null unless the request includes it and the memory has one."""

    embedding = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    sync = Sync(allow_null=True, help_text="null with as_of, because it is not kept")

    class Meta:
        model = MemoryLog
        fields = (
            "id",
            "task",
            "agent",
            "date",
            "user_id",
            "project_id",
            "raw_data",
            "external_id",
            "duplicate_of",
            "similar_to",
            "expires_at",
            "created_at",
            "updated_at",
            "version",
            "embedding",
            "sync",
        )

    def to_representation(self, instance: MemoryLog) -> dict[str, Any]:
        return serialize(instance)


class Version(serializers.ModelSerializer[MemoryVersion]):
    """A version of a memory: what made it, when, and its content."""

    id = serializers.IntegerField(source="pgh_obj_id")
    change = serializers.ChoiceField(choices=["created", "updated", "deleted"], source="pgh_label")
    changed_at = serializers.DateTimeField(source="pgh_created_at")

    class Meta:
        model = MemoryVersion
        fields = (
            "change",
            "changed_at",
            "id",
            "task",
            "agent",
            "date",
            "user_id",
            "project_id",
            "raw_data",
            "external_id",
            "created_at",
            "updated_at",
            "version",
        )

    def to_representation(self, instance: MemoryVersion) -> dict[str, Any]:
        return serialize_version(instance)


class BatchOutput(serializers.Serializer[Any]):
    """The stored memories, in the order of the request."""

    created = serializers.IntegerField()
    replaced = serializers.IntegerField(
        required=False, help_text="memories whose external_id was stored already, if one has an external_id"
    )
    ids = serializers.ListField(child=serializers.IntegerField())
