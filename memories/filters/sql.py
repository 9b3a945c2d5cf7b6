"""A filter as SQL.

A condition on a value that is missing is NULL in SQL. Between two negations there are only AND and OR, for which NULL
is as good as false, and every negation is `IS NOT TRUE`. So a row passes exactly when the filter holds.

Columns that are never NULL are compared directly, so the planner can use their indexes.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from memories.filters.conditions import (
    DATE,
    RAW_DATA,
    TAGS,
    TEXTS,
    And,
    Condition,
    Node,
    Not,
    Or,
)

COMPARISONS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Statement(NamedTuple):
    """A part of a statement: its text has a %s for each parameter."""

    text: str
    parameters: tuple[Any, ...]

    def named(self, prefix: str) -> tuple[str, dict[str, Any]]:
        """The text with named parameters, and the parameters by name."""
        names = [f"{prefix}_{number}" for number in range(len(self.parameters))]
        remaining: Iterator[str] = iter(names)
        text = re.sub("%s", lambda _: f"%({next(remaining)})s", self.text)
        return text, dict(zip(names, self.parameters, strict=True))


Column = Callable[[str], str]


def to_sql(node: Node, column: Column) -> Statement:
    """The condition that a row must meet. `column` gives the SQL of a column of the memory."""
    match node:
        case And(parts):
            return _joined(" AND ", "true", [to_sql(part, column) for part in parts])
        case Or(parts):
            return _joined(" OR ", "false", [to_sql(part, column) for part in parts])
        case Not(part):
            inner = to_sql(part, column)
            return Statement(f"({inner.text}) IS NOT TRUE", inner.parameters)
    match node.field.name:
        case "tags":
            return _tags(node, f"({column(RAW_DATA)} -> '{TAGS}')")
        case "raw_data":
            return _value(node, column(RAW_DATA))
    return _column(node, column(node.field.name))


def _joined(operator: str, empty: str, parts: list[Statement]) -> Statement:
    if not parts:
        return Statement(empty, ())
    text = operator.join(f"({part.text})" for part in parts)
    return Statement(text, tuple(value for part in parts for value in part.parameters))


def _column(condition: Condition, column: str) -> Statement:
    """A condition on a column. Text is ordered by code points, whatever the database's collation is."""
    name, operator, value = condition.field.name, condition.operator, condition.value
    kind = "text" if name in TEXTS else "date" if name == DATE else "timestamptz"
    if operator == "in":
        return Statement(f"{column} = ANY (%s::{kind}[])", (list(value),))
    if operator == "contains":
        return _joined(" AND ", "true", [Statement(f"strpos({column}, %s) > 0", (part,)) for part in value])
    collation = ' COLLATE "C"' if name in TEXTS and operator != "eq" else ""
    return Statement(f"{column}{collation} {COMPARISONS[operator]} %s::{kind}", (value,))


def _tags(condition: Condition, tags: str) -> Statement:
    match condition.operator:
        case "exists":
            # A scalar has a first item, too.
            first = f"(CASE WHEN jsonb_typeof({tags}) = 'array' THEN {tags} -> 0 END)"
            return _exists(Statement(first, ()), condition.value)
        case "in":
            parts = [Statement(f"{tags} @> %s::jsonb", (_json([tag]),)) for tag in condition.value]
            return _joined(" OR ", "false", parts)
        case "contains":
            return Statement(f"{tags} @> %s::jsonb", (_json(condition.value),))
    return Statement(f"{tags} @> %s::jsonb", (_json([condition.value]),))


def _value(condition: Condition, raw_data: str) -> Statement:
    """A condition on a value inside raw_data."""
    path = list(condition.field.path)
    found = Statement(f"({raw_data} #> %s::text[])", (path,))
    match condition.operator:
        case "exists":
            return _exists(found, condition.value)
        case "in":
            wanted = ", ".join(["%s::jsonb"] * len(condition.value))
            return Statement(f"{found.text} IN ({wanted})", (path, *map(_json, condition.value)))
        case "contains":
            return _joined(" AND ", "true", [_contains(found, raw_data, each) for each in condition.value])
        case "eq":
            return Statement(f"{found.text} = %s::jsonb", (path, _json(condition.value)))
    comparison = COMPARISONS[condition.operator]
    if isinstance(condition.value, str):
        text = f'({raw_data} #>> %s::text[]) COLLATE "C" {comparison} %s'
        return Statement(f"jsonb_typeof({found.text}) = 'string' AND {text}", (path, path, condition.value))
    return Statement(
        f"jsonb_typeof({found.text}) = 'number' AND {found.text} {comparison} %s::jsonb",
        (path, path, _json(condition.value)),
    )


def _contains(found: Statement, raw_data: str, value: Any) -> Statement:
    """A list has the value, or a text has it as a part."""
    path = found.parameters
    in_list = Statement(f"{found.text} @> %s::jsonb", (*path, _json([value])))
    if not isinstance(value, str):
        return in_list
    is_text = f"jsonb_typeof({found.text}) = 'string' AND strpos({raw_data} #>> %s::text[], %s) > 0"
    return _joined(" OR ", "false", [in_list, Statement(is_text, (*path, *path, value))])


def _exists(found: Statement, wanted: bool) -> Statement:
    return Statement(f"{found.text} IS {'NOT ' if wanted else ''}NULL", found.parameters)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # orjson writes no integer above 64 bits
        return json.dumps(value)
