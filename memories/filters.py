"""The filters of a search, as a dataclass and as SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date as Date
from typing import Any

import orjson

Scalar = str | int | float | bool

# The conditions of one search: each tag and each value of raw_data counts.
MAX_CONDITIONS = 32

# Conditions on a row `m` of memory_logs. No tenant has a memory that has expired.
# Their parameters are those of a Tenant and of Filters.parameters().
IS_TENANTS = """m.user_id = %(user_id)s AND m.project_id = %(project_id)s
    AND (m.expires_at IS NULL OR m.expires_at > statement_timestamp())"""
CONDITION = """
    (%(task)s::text IS NULL OR m.task = %(task)s) AND (%(agent)s::text IS NULL OR m.agent = %(agent)s)
    AND (%(date_from)s::date IS NULL OR m.date >= %(date_from)s)
    AND (%(date_to)s::date IS NULL OR m.date <= %(date_to)s)
    AND (%(tags)s::jsonb IS NULL OR m.raw_data @> %(tags)s::jsonb)
    AND (%(raw_data)s::jsonb IS NULL OR m.raw_data @> %(raw_data)s::jsonb)
"""
ALLOWED = f"{IS_TENANTS} AND {CONDITION}"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Conditions of a search. A memory must meet all of them."""

    task: str | None = None
    agent: str | None = None
    date_from: Date | None = None
    date_to: Date | None = None
    # The memory must have each of these tags.
    tags: tuple[str, ...] = ()
    # Top-level values of raw_data, not nested ones.
    raw_data: Mapping[str, Scalar] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != EVERYTHING

    def __len__(self) -> int:
        """The number of conditions."""
        single = (self.task, self.agent, self.date_from, self.date_to)
        return sum(value is not None for value in single) + len(self.tags) + len(self.raw_data)

    def parameters(self) -> dict[str, Any]:
        """The parameters of CONDITION. One that is None filters nothing."""
        return {
            "task": self.task,
            "agent": self.agent,
            "date_from": self.date_from,
            "date_to": self.date_to,
            # Two documents: one of them would lose a value of raw_data whose key is "tags".
            "tags": orjson.dumps({"tags": self.tags}).decode() if self.tags else None,
            "raw_data": orjson.dumps(dict(self.raw_data)).decode() if self.raw_data else None,
        }


EVERYTHING = Filters()
