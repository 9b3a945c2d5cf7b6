"""A filter as a tree of conditions. SQL, Chroma and JSON are made from it."""

from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None

# Columns of a memory that are text, and columns that are times.
TEXTS = ("task", "agent")
TIMES = ("created_at", "updated_at")
DATE, TAGS, RAW_DATA = "date", "tags", "raw_data"
COLUMNS = (*TEXTS, DATE, *TIMES, RAW_DATA)


class Field(NamedTuple):
    """What a condition is about: a column, the tags, or a value inside raw_data."""

    name: str
    # The keys and list indexes that lead to the value. Only raw_data has a path.
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join([self.name, *(escaped(step) for step in self.path)])


@dataclass(frozen=True)
class Condition:
    """One comparison. `value` has the field's type; for `in`, and for `contains` with several values, it is a tuple."""

    field: Field
    operator: str
    value: Any


@dataclass(frozen=True)
class And:
    """All parts hold. Without parts it always holds."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Or:
    """At least one part holds."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Not:
    """The part does not hold. A condition on a value that is missing does not hold, so its Not does."""

    part: "Node"


Node = Condition | And | Or | Not


def escaped(step: str) -> str:
    """A step of a path as it is written: a dot or a backslash inside it has a backslash before it."""
    return step.replace("\\", "\\\\").replace(".", "\\.")


def count(node: Node) -> int:
    """How many conditions a filter has. Each value of a list counts as one."""
    match node:
        case And(parts) | Or(parts):
            return sum(count(part) for part in parts)
        case Not(part):
            return count(part)
        case Condition(_, _, tuple(values)):
            return max(1, len(values))
    return 1


def to_json(node: Node) -> dict[str, Any]:
    """The filter in its own language. `memories.filters.language.parse` reads it back."""
    match node:
        case And(parts):
            return {"and": [to_json(part) for part in parts]}
        case Or(parts):
            return {"or": [to_json(part) for part in parts]}
        case Not(part):
            return {"not": to_json(part)}
    return {str(node.field): {node.operator: _plain(node.value)}}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, Date | datetime) else value
