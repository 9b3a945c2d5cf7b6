"""Memories in which there is nothing to mend and nothing to refuse, as nearly all are.

DRF takes ten times as long to come to the same; whatever is not as plain as that is left to it.
"""

from collections.abc import Mapping
from datetime import date as Date
from typing import Any

from memories.api.limits import ID_LENGTH, TEXT_LENGTH

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
