"""The language of filters: JSON that a client sends, with its types checked.

    {"and": [{"agent": "coder"}, {"raw_data.solution.status": {"in": ["done", "merged"]}},
             {"not": {"created_at": {"lt": "2026-01-01"}}}]}

An object with several keys means that all of them hold. A value in the place of operators means `eq`.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from datetime import date as Date
from itertools import islice
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime

from memories.filters.conditions import (
    DATE,
    RAW_DATA,
    TAGS,
    TEXTS,
    TIMES,
    And,
    Condition,
    Field,
    Node,
    Not,
    Or,
)

# The conditions of one filter: each value of a list counts.
MAX_CONDITIONS = 32
# How deep `and`, `or` and `not` may be nested.
MAX_DEPTH = 8
# Characters of one string: as many as a task may have.
MAX_STRING = 10_000
# Steps of a path into raw_data: as deep as a body may be nested.
MAX_STEPS = 64

EQUALITY = ("eq", "ne", "in", "nin")
ORDER = ("gt", "gte", "lt", "lte")
OPERATORS = {
    **dict.fromkeys(TEXTS, (*EQUALITY, *ORDER, "contains")),
    **dict.fromkeys((DATE, *TIMES), (*EQUALITY, *ORDER)),
    TAGS: (*EQUALITY, "contains", "exists"),
    RAW_DATA: (*EQUALITY, *ORDER, "contains", "exists"),
}
FIELDS = f"{', '.join((*TEXTS, DATE, *TIMES, TAGS))} and raw_data.<path>"

# A step of a path: a backslash makes the next character a part of the step.
STEP = re.compile(r"(?:[^.\\]|\\.)+", re.DOTALL)

# What is wrong: a text, or the errors of the parts by key or index.
Refusals = str | dict[str, Any]


class InvalidFilter(ValueError):
    """The filter is wrong; `refusals` are nested like the filter."""

    def __init__(self, refusals: Refusals) -> None:
        self.refusals = refusals
        super().__init__(str(refusals))


def parse(data: Any, *, levels: float = MAX_DEPTH) -> Node:
    """The tree of a filter with at most so many levels. Raises InvalidFilter."""
    # Counted first, so that the work on a filter is bounded.
    if sum(1 for _ in islice(_leaves(data), MAX_CONDITIONS + 1)) > MAX_CONDITIONS:
        raise InvalidFilter(f"A filter has at most {MAX_CONDITIONS} conditions. Use fewer.")
    return _filter(data, levels)


def _leaves(data: Any) -> Iterator[Any]:
    """The values in a filter: each of them is a condition."""
    remaining = [data]
    while remaining:
        match remaining.pop():
            case dict(found) if found:
                remaining.extend(found.values())
            case list(found) if found:
                remaining.extend(found)
            case leaf:
                yield leaf


def _filter(data: Any, levels: float) -> Node:
    if not isinstance(data, dict) or not data:
        raise InvalidFilter('Must be an object with at least one condition, as {"agent": "coder"}.')
    if levels < 1:
        raise InvalidFilter(f"A filter is nested at most {MAX_DEPTH} levels deep.")
    parts = _each(data.items(), lambda key, value: _part(key, value, levels))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _part(key: str, value: Any, levels: float) -> Node:
    match key:
        case "and":
            return And(tuple(_list(value, levels)))
        case "or":
            return Or(tuple(_list(value, levels)))
        case "not":
            return Not(_filter(value, levels - 1))
    field = _field(key)
    if not isinstance(value, dict):
        return _condition(field, "eq", value)
    if not value:
        raise InvalidFilter(f"Give an operator: {_words(OPERATORS[field.name])}.")
    parts = _each(value.items(), lambda operator, operand: _condition(field, operator, operand))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _list(data: Any, levels: float) -> list[Node]:
    if not isinstance(data, list) or not 1 <= len(data) <= MAX_CONDITIONS:
        raise InvalidFilter(f"Must be a list of 1 to {MAX_CONDITIONS} filters.")
    return _each(
        ((str(index), item) for index, item in enumerate(data)), lambda _, item: _filter(item, levels - 1)
    )


def _each(items: Any, read: Callable[[str, Any], Any]) -> list[Any]:
    """What `read` makes of each item. Raises InvalidFilter with the errors of all of them, by key."""
    found, refusals = [], {}
    for key, item in items:
        try:
            found.append(read(key, item))
        except InvalidFilter as error:
            refusals[key] = error.refusals
    if refusals:
        raise InvalidFilter(refusals)
    return found


def _field(key: str) -> Field:
    if key in OPERATORS and key != RAW_DATA:
        return Field(key)
    name, _, path = key.partition(".")
    if name != RAW_DATA:
        raise InvalidFilter(f"Unknown field. There are: {FIELDS}.")
    return Field(RAW_DATA, tuple(_steps(path)))


def _steps(path: str) -> Iterator[str]:
    end = -1
    for number, step in enumerate(STEP.finditer(path)):
        if step.start() != end + 1 or number == MAX_STEPS:
            break
        yield re.sub(r"\\(.)", r"\1", step[0], flags=re.DOTALL)
        end = step.end()
    if end != len(path):
        raise InvalidFilter(
            f"Name the value by 1 to {MAX_STEPS} keys with dots between them, as raw_data.solution.status. "
            "A dot or backslash inside a key has a backslash before it."
        )


def _condition(field: Field, operator: str, operand: Any) -> Node:
    allowed = OPERATORS[field.name]
    if operator not in allowed:
        raise InvalidFilter(f"Unknown operator. {field} has: {_words(allowed)}.")
    match operator:
        case "ne" | "nin":
            return Not(_condition(field, "eq" if operator == "ne" else "in", operand))
        case "in":
            return Condition(field, "in", _values(field, operand))
        case "contains" if isinstance(operand, list):
            return Condition(field, "contains", _values(field, operand))
        case "contains":
            return Condition(field, "contains", (_value(field, operand),))
        case "exists":
            return Condition(field, "exists", _boolean(operand))
        case "eq":
            return Condition(field, "eq", _value(field, operand))
    return Condition(field, operator, _ordered(field, operand))


def _values(field: Field, data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list) or not 1 <= len(data) <= MAX_CONDITIONS:
        raise InvalidFilter(f"Must be a list of 1 to {MAX_CONDITIONS} values.")
    return tuple(_each(((str(i), item) for i, item in enumerate(data)), lambda _, item: _value(field, item)))


def _value(field: Field, data: Any) -> Any:
    if field.name == DATE:
        return _date(data)
    if field.name in TIMES:
        return _time(data)
    if field.name in (*TEXTS, TAGS):
        return _text(data)
    if isinstance(data, dict | list):
        raise InvalidFilter("Must be a string, a number, true, false or null.")
    return _text(data) if isinstance(data, str) else data


def _ordered(field: Field, data: Any) -> Any:
    if field.name == RAW_DATA and (isinstance(data, bool) or not isinstance(data, str | int | float)):
        raise InvalidFilter("Must be a string or a number.")
    return _value(field, data)


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise InvalidFilter("Must be a string.")
    if len(data) > MAX_STRING:
        raise InvalidFilter(f"A string may have {MAX_STRING:,} characters. This one has {len(data):,}.")
    return data


def _boolean(data: Any) -> bool:
    if not isinstance(data, bool):
        raise InvalidFilter("Must be true or false.")
    return data


def _date(data: Any) -> Date:
    found: Date | None = _parsed(parse_date, data)
    if found is None:
        raise InvalidFilter("Must be a date as 2026-01-31.")
    return found


def _time(data: Any) -> datetime:
    found: datetime | None = _parsed(parse_datetime, data)
    if found is None and (day := _parsed(parse_date, data)):
        found = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if found is None:
        raise InvalidFilter("Must be a time as 2026-01-31T08:00:00Z, or a date: its first moment in UTC.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _parsed(read: Callable[[str], Any], data: Any) -> Any:
    try:
        return read(data) if isinstance(data, str) else None
    except ValueError:  # well formed, and no such day
        return None


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(names)
