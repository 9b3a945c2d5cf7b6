"""The filters of a search, a list or a bulk deletion, and the SQL that statements share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date as Date
from math import inf
from typing import Any

from memories.filters import language
from memories.filters.conditions import (
    DATE,
    RAW_DATA,
    TAGS,
    And,
    Condition,
    Field,
    Node,
    Scalar,
    count,
    to_json,
)
from memories.filters.sql import to_sql

# Conditions on a row `m` of memory_logs. No tenant has a memory that has expired.
IS_UNEXPIRED = "(m.expires_at IS NULL OR m.expires_at > statement_timestamp())"
# Its parameters are those of a Tenant. An empty project_id means all projects of the user. Parameters are literals when
# PostgreSQL plans the statement, so it plans one of the two conditions only. A prepared statement is planned without
# them: of_one_project() leaves one condition.
IN_PROJECTS = "(%(project_id)s = '' OR m.project_id = %(project_id)s)"
IS_TENANTS = f"m.user_id = %(user_id)s AND {IN_PROJECTS} AND {IS_UNEXPIRED}"
# Filters.put_into() replaces it in a statement by the conditions of the filters.
CONDITION = "(/* the conditions of the filters */)"
ALLOWED = f"{IS_TENANTS} AND {CONDITION}"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Conditions on memories. A memory must meet all of them."""

    task: str | None = None
    agent: str | None = None
    date_from: Date | None = None
    date_to: Date | None = None
    # The memory must have each of these tags.
    tags: tuple[str, ...] = ()
    # Top-level values of raw_data, not nested ones.
    raw_data: Mapping[str, Scalar] = field(default_factory=dict)
    # A filter in the language.
    filter: Node | None = None

    def __bool__(self) -> bool:
        return self != EVERYTHING

    def __len__(self) -> int:
        """The number of conditions."""
        return count(self.condition)

    @property
    def condition(self) -> And:
        """All conditions as one tree."""
        return And(tuple(self._parts()))

    def put_into(self, statement: str) -> str:
        """The statement with these conditions in the place of CONDITION."""
        text, _ = to_sql(self.condition, "m.{}".format).named("filter")
        return statement.replace(CONDITION, f"({text})")

    def parameters(self) -> dict[str, Any]:
        """The parameters of what put_into() puts into a statement."""
        _, parameters = to_sql(self.condition, "m.{}".format).named("filter")
        return parameters

    def to_json(self) -> dict[str, Any]:
        """The conditions as JSON, in the language of filters; {} without conditions."""
        return to_json(self.condition) if self else {}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Filters":
        """What to_json() made JSON of. Raises InvalidFilter."""
        return cls(filter=language.parse(data, levels=inf)) if data else EVERYTHING

    def _parts(self) -> Iterator[Node]:
        named = (
            ("task", "eq", self.task),
            ("agent", "eq", self.agent),
            (DATE, "gte", self.date_from),
            (DATE, "lte", self.date_to),
        )
        for name, operator, value in named:
            if value is not None:
                yield Condition(Field(name), operator, value)
        if self.tags:
            yield Condition(Field(TAGS), "contains", self.tags)
        for key, wanted in self.raw_data.items():
            yield Condition(Field(RAW_DATA, (key,)), "eq", wanted)
        if self.filter is not None:
            yield self.filter


EVERYTHING = Filters()


def of_one_project(statement: str) -> str:
    """The statement with IS_TENANTS for one project: the parameter project_id is not empty."""
    return statement.replace(IN_PROJECTS, "m.project_id = %(project_id)s")
