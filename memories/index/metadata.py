"""The metadata of a memory in the index: what Chroma narrows a search by, and what verification compares.

PostgreSQL decides whether a memory meets a filter. Chroma only narrows the search, so a condition may let a memory
through that does not meet the filter, but must never exclude one that does. That is why a memory with more tags or
values than the index stores is marked, and passes every condition on tags and values.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from memories.filters import MAX_CONDITIONS, And, Condition, Field, Filters, Node, Or, Scalar
from memories.index import quotas
from memories.models import MemoryLog

# The values of one memory that the index stores. Chroma's SQLite takes 32,766 variables in a statement: about 6,000
# values of one document make it fail, and then every later write to the collection fails.
MAX_VALUES = 64
MAX_TAGS = 64
# Characters of a tag, of a string, and of a key.
MAX_STRING = 200
MAX_INTEGER = 2**53

# Every document has the keys that metadata_of names, and may have tags and the mark.
OTHER_KEYS = 11

# The mark of a memory of which the index does not store all tags and values.
IS_CUT = "is_cut"


def metadata_of(row: MemoryLog) -> dict[str, Any]:
    """Return the memory's metadata, as far as it fits the quotas of the server.

    Chroma compares only numbers, so the date is also there as an ordinal.
    """
    return {
        "memory_log_id": row.id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "task": quotas.cut_to_bytes(row.task, quotas.current().value_bytes),
        "agent": row.agent,
        "date": row.date.isoformat(),
        "date_ordinal": row.date.toordinal(),
        "version": row.version,
        "content_hash": row.content_hash,
        **_values_of(row.raw_data),
    }


def keys_of(raw_data: Any) -> set[str]:
    """Return the keys of the metadata that depend on the memory's raw_data."""
    return set(_values_of(raw_data))


def where(filters: Filters) -> dict[str, Any] | None:
    """Return a Chroma condition that every memory meets which meets the filters; None if there is none.

    The number of its conditions is within the quotas of the server.
    """
    narrowed = _narrowed(filters.condition)
    return _reduced(narrowed, quotas.current().predicates) if narrowed else None


def is_filterable(value: object) -> bool:
    """Tell whether the index stores the value, and a search can filter by it."""
    match value:
        case bool():
            return True
        case str():
            return len(value) <= MAX_STRING
        case int() | float():
            return abs(value) <= MAX_INTEGER
    return False


class _Stored(NamedTuple):
    tags: list[str]
    values: dict[str, Scalar]
    is_cut: bool


def _narrowed(node: Node) -> dict[str, Any] | None:
    """Return a condition that every memory meets for which the filter holds; None if there is none.

    A negation narrows nothing: what Chroma lets through too much it would exclude wrongly.
    """
    match node:
        case And(parts):
            # Any of the parts may be left out.
            found = [narrowed for part in parts if (narrowed := _narrowed(part))]
            return _joined("$and", found[:MAX_CONDITIONS])
        case Or(parts):
            # None of the parts may be left out.
            every = [_narrowed(part) for part in parts]
            return _joined("$or", [one for one in every if one]) if all(every) else None
        case Condition(Field("task" | "agent" as name), operator, value):
            return _compared(name, operator, value)
        case Condition(Field("date"), operator, value):
            days = [day.toordinal() for day in value] if isinstance(value, tuple) else value.toordinal()
            return _compared("date_ordinal", operator, days)
        case Condition(Field("tags"), operator, value):
            return _of_tags(operator, value)
        case Condition(Field("raw_data", (key,)), "eq" | "in" as operator, value):
            wanted = value if operator == "in" else (value,)
            if all(_is_stored(key, one) for one in wanted):
                return _or_cut(_joined("$or", [{_key(key): _number(one)} for one in wanted]))
    return None


def _reduced(condition: dict[str, Any], most: int) -> dict[str, Any] | None:
    """Return the condition with at most so many comparisons: parts of an $and may be left out, parts of an $or not."""
    if _size(condition) <= most:
        return condition
    kept: list[dict[str, Any]] = []
    for part in condition.get("$and", ()):
        if reduced := _reduced(part, most - sum(map(_size, kept))):
            kept.append(reduced)
    return _joined("$and", kept)


def _size(condition: dict[str, Any]) -> int:
    """The comparisons of the condition. Each value of $in counts as one, as in the SQL that Chroma makes of it."""
    [(name, value)] = condition.items()
    if name in ("$and", "$or"):
        return sum(map(_size, value))
    return len(value["$in"]) if isinstance(value, dict) and "$in" in value else 1


def _compared(name: str, operator: str, value: Any) -> dict[str, Any] | None:
    most = quotas.current().value_bytes
    if any(isinstance(one, str) and len(one.encode()) > most for one in _values(value)):
        return None  # the index has only the beginning of such a value
    match operator:
        case "eq":
            return {name: value}
        case "in":
            return {name: {"$in": list(value)}}
        case "gt" | "gte" | "lt" | "lte" if isinstance(value, int):  # Chroma orders numbers only
            return {name: {f"${operator}": value}}
    return None


def _of_tags(operator: str, value: Any) -> dict[str, Any] | None:
    if operator == "exists":
        return None
    tags = value if isinstance(value, tuple) else (value,)
    stored = [{"tags": {"$contains": tag}} for tag in tags if len(tag) <= MAX_STRING][:MAX_CONDITIONS]
    if operator != "in":
        return _or_cut(_joined("$and", stored))
    return _or_cut(_joined("$or", stored)) if len(stored) == len(tags) else None


def _or_cut(condition: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the condition, which a memory passes as well when the index does not store all of its values."""
    return {"$or": [condition, {IS_CUT: True}]} if condition else None


def _joined(operator: str, conditions: list[dict[str, Any]]) -> dict[str, Any] | None:
    # Chroma requires at least two conditions in $and and in $or.
    return {operator: conditions} if len(conditions) > 1 else conditions[0] if conditions else None


def _values_of(raw_data: Any) -> dict[str, Any]:
    tags, values, is_cut = _stored(raw_data) if isinstance(raw_data, Mapping) else _Stored([], {}, False)
    return (
        {_key(name): _number(value) for name, value in values.items()}
        | ({"tags": tags} if tags else {})  # Chroma refuses an empty list
        | ({IS_CUT: True} if is_cut else {})
    )


def _stored(raw_data: Mapping[str, Any]) -> _Stored:
    """Return the first tags, and the first top-level values in the order of their keys."""
    listed = raw_data.get("tags")
    all_tags = (
        dict.fromkeys(tag for tag in listed if isinstance(tag, str)) if isinstance(listed, list) else {}
    )
    tags = [tag for tag in all_tags if len(tag) <= MAX_STRING][:MAX_TAGS]
    tags = _that_fit(tags, quotas.current().value_bytes)
    filterable = sorted(name for name, value in raw_data.items() if is_filterable(value))
    most = min(MAX_VALUES, quotas.current().keys - OTHER_KEYS)
    names = [name for name in filterable if _is_key(name)][:most]
    is_cut = len(tags) < len(all_tags) or len(names) < len(filterable)
    return _Stored(tags, {name: raw_data[name] for name in names}, is_cut)


def _is_stored(name: str, value: object) -> bool:
    return _is_key(name) and is_filterable(value)


def _is_key(name: str) -> bool:
    return len(name) <= MAX_STRING and len(_key(name).encode()) <= quotas.current().key_bytes


def _that_fit(tags: list[str], most: int) -> list[str]:
    """The first tags that together take at most so many bytes."""
    sizes = accumulate(len(tag.encode()) for tag in tags)
    return [tag for tag, size in zip(tags, sizes, strict=True) if size <= most]


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _key(name: str) -> str:
    """Return the field name. The prefix keeps keys of raw_data apart from our own fields."""
    return f"raw_data.{name}"


def _number(value: Scalar) -> Scalar:
    """Return 1 for 1.0: they are equal in PostgreSQL, but not in Chroma."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
