"""The metadata of a memory in the index: what search filters by, and what verification compares."""

from collections.abc import Mapping
from typing import Any

from memories.filters import Filters, Scalar
from memories.models import MemoryLog

# Limits on the values of raw_data that search can filter by: their number per memory, in the order of their keys, the
# characters of a string, and the size of a number.
MAX_VALUES = 64
MAX_STRING = 200
MAX_INTEGER = 2**53


def metadata_of(row: MemoryLog) -> dict[str, Any]:
    """Return the memory's metadata. Chroma compares only numbers, so the date is also there as an ordinal."""
    return {
        "memory_log_id": row.id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "task": row.task,
        "agent": row.agent,
        "date": row.date.isoformat(),
        "date_ordinal": row.date.toordinal(),
        "version": row.version,
        "content_hash": row.content_hash,
        **_values_of(row.raw_data),
    }


def where(filters: Filters) -> dict[str, Any] | None:
    """Return the filters as a Chroma condition on the fields of `metadata_of`; None for no filter."""
    conditions: list[dict[str, Any]] = [
        *(
            {name: value}
            for name, value in (("task", filters.task), ("agent", filters.agent))
            if value is not None
        ),
        *({"tags": {"$contains": tag}} for tag in filters.tags),
        *({_key(name): _number(value)} for name, value in filters.raw_data.items()),
    ]
    if filters.date_from:
        conditions.append({"date_ordinal": {"$gte": filters.date_from.toordinal()}})
    if filters.date_to:
        conditions.append({"date_ordinal": {"$lte": filters.date_to.toordinal()}})
    # Chroma requires at least two conditions in $and.
    return {"$and": conditions} if len(conditions) > 1 else next(iter(conditions), None)


def is_filterable(value: object) -> bool:
    match value:
        case bool():
            return True
        case str():
            return len(value) <= MAX_STRING
        case int() | float():
            return abs(value) <= MAX_INTEGER
    return False


def _values_of(raw_data: Any) -> dict[str, Any]:
    """Return the tags, and the top-level values of raw_data that can be filtered by."""
    if not isinstance(raw_data, Mapping):
        return {}
    listed = raw_data.get("tags")
    tags = [tag for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []
    names = sorted(name for name, value in raw_data.items() if is_filterable(value))[:MAX_VALUES]
    values = {_key(name): _number(raw_data[name]) for name in names}
    return values | ({"tags": tags} if tags else {})  # Chroma refuses an empty list


def _key(name: str) -> str:
    """Return the field name. The prefix keeps keys of raw_data apart from our own fields."""
    return f"raw_data.{name}"


def _number(value: Scalar) -> Scalar:
    """Return 1 for 1.0: they are equal in PostgreSQL, but not in Chroma."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
