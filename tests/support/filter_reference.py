"""The language of filters in plain Python: what PostgreSQL must answer."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from memories.models import MemoryLog

MISSING = object()


def meets(row: MemoryLog, wanted: dict[str, Any]) -> bool:
    """Whether the memory meets the filter."""
    return all(_holds(row, key, value) for key, value in wanted.items())


def _holds(row: MemoryLog, key: str, value: Any) -> bool:
    match key:
        case "and":
            return all(meets(row, part) for part in value)
        case "or":
            return any(meets(row, part) for part in value)
        case "not":
            return not meets(row, value)
    operators = value if isinstance(value, dict) else {"eq": value}
    return all(_compare(row, key, operator, operand) for operator, operand in operators.items())


def _compare(row: MemoryLog, key: str, operator: str, operand: Any) -> bool:
    match operator:
        case "ne":
            return not _compare(row, key, "eq", operand)
        case "nin":
            return not _compare(row, key, "in", operand)
        case "in":
            return any(_compare(row, key, "eq", one) for one in operand)
    if key == "tags":
        return _tags(row.raw_data.get("tags", MISSING), operator, operand)
    if key.startswith("raw_data."):
        return _value(_at(row.raw_data, key.removeprefix("raw_data.")), operator, operand)
    found = getattr(row, key)
    if key == "date":
        found = found.isoformat()
    elif key in ("created_at", "updated_at"):
        operand = datetime.fromisoformat(operand)
        operand = operand if operand.tzinfo else operand.replace(tzinfo=UTC)
    if operator == "contains":
        return all(part in found for part in (operand if isinstance(operand, list) else [operand]))
    return bool(found == operand) if operator == "eq" else _ordered(found, operator, operand)


def _tags(found: Any, operator: str, operand: Any) -> bool:
    if operator == "exists":
        return (isinstance(found, list) and bool(found)) == operand
    wanted = operand if isinstance(operand, list) else [operand]
    return isinstance(found, list) and all(tag in found for tag in wanted)


def _value(found: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "exists":
            return (found is not MISSING) == operand
        case "eq":
            return _equal(found, operand)
        case "contains":
            return all(_has(found, one) for one in (operand if isinstance(operand, list) else [operand]))
    if isinstance(operand, str):
        return isinstance(found, str) and _ordered(found, operator, operand)
    return _is_number(found) and _ordered(_exact(found), operator, _exact(operand))


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(found, list):
        return any(_equal(one, wanted) for one in found)
    return isinstance(found, str) and isinstance(wanted, str) and wanted in found


def _equal(found: Any, wanted: Any) -> bool:
    if _is_number(found) and _is_number(wanted):
        return _exact(found) == _exact(wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def _at(found: Any, path: str) -> Any:
    for step in re.findall(r"(?:[^.\\]|\\.)+", path):
        key = re.sub(r"\\(.)", r"\1", step)
        if isinstance(found, dict):
            found = found.get(key, MISSING)
        elif isinstance(found, list) and re.fullmatch(r"-?\d+", key) and -len(found) <= int(key) < len(found):
            found = found[int(key)]
        else:
            return MISSING
    return found


ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def _ordered(found: Any, operator: str, operand: Any) -> bool:
    return ORDER[operator](found, operand)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))
