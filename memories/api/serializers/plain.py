"""Memories in which there is nothing to mend and nothing to refuse, as nearly all are, and memories as they are.

DRF takes ten times as long to come to the same; whatever is not as plain as that is left to it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any

from memories.api.limits import ID_LENGTH, TEXT_LENGTH
from memories.models import MemoryLog
from memories.records.sync_status import SyncStatus

TEXTS = {"user_id": ID_LENGTH, "project_id": ID_LENGTH, "task": TEXT_LENGTH, "agent": ID_LENGTH}


def plain_memory(given: Any) -> dict[str, Any] | None:
    """The fields of a memory, as its serializer would give them; None where it has to look itself."""
    if not isinstance(given, dict):
        return None
    fields: dict[str, Any] = {}
    for name, longest in TEXTS.items():
        if not _is_plain(text := given.get(name), longest):
            return None
        fields[name] = text
    return fields if _takes_the_others(fields, given) else None


def _is_plain(text: object, longest: int) -> bool:
    return isinstance(text, str) and 0 < len(text) <= longest and text.isprintable() and text == text.strip()


def _takes_the_others(fields: dict[str, Any], given: Mapping[str, Any]) -> bool:
    if "raw_data" in given:
        fields["raw_data"] = given["raw_data"]
        if not isinstance(given["raw_data"], dict):
            return False
    if "date" in given:
        try:
            fields["date"] = Date.fromisoformat(given["date"])
        except (TypeError, ValueError):
            return False
    return True


def serialize(row: MemoryLog) -> dict[str, Any]:
    """A memory as it is answered, without its vector: what MemoryLogOutput says of it."""
    return {
        "id": row.id,
        "task": row.task,
        "agent": row.agent,
        "date": row.date.isoformat(),
        "user_id": row.user_id,
        "project_id": row.project_id,
        "raw_data": row.raw_data,
        "created_at": _moment(row.created_at),
        "updated_at": _moment(row.updated_at),
        "version": row.version,
        "embedding": None,
        "sync": {
            "status": str(getattr(row, "sync_status", SyncStatus.PENDING)),
            "version": row.version,
            "indexed_version": row.indexed_version,
            "embedded_at": _moment(row.embedded_at),
            "indexed_at": _moment(row.indexed_at),
            "error": getattr(row, "sync_error", None),
        },
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
