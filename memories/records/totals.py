"""Totals: the tenants that have memories, and how many."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import connection

from memories.tenants import Tenant

# A step for each tenant finds the first memory of the next one in the index. Memories are counted in the index alone;
# the expired ones among them, which wait to be deleted, are subtracted.
TENANTS = """
WITH RECURSIVE tenant AS (
    ({first}) UNION ALL SELECT following.* FROM tenant CROSS JOIN LATERAL ({following}) AS following
)
SELECT user_id, project_id, {count} FROM tenant LIMIT %(limit)s
"""
NEXT = """
SELECT m.user_id, m.project_id FROM memory_logs AS m WHERE {whose} AND (m.user_id, m.project_id) > ({after})
ORDER BY m.user_id, m.project_id LIMIT 1
"""
COUNT = """
    (SELECT count(*) FROM memory_logs AS m WHERE (m.user_id, m.project_id) = (tenant.user_id, tenant.project_id))
  - (SELECT count(*) FROM memory_logs AS m WHERE (m.user_id, m.project_id) = (tenant.user_id, tenant.project_id)
     AND m.expires_at <= statement_timestamp())
"""


class Total(NamedTuple):
    tenant: Tenant
    memories: int


def totals(owner: Mapping[str, str], *, after: Tenant, limit: int) -> list[Total]:
    """The next `limit` tenants in the order of their ids that have memories, and how many each has.

    `owner`: user_id and project_id, as far as they are fixed. `after`: the last tenant of the page before; empty ids
    stand before all others.
    """
    return [Total(Tenant(*ids), memories) for *ids, memories in _tenants(owner, after, limit, count=COUNT)]


def tenants_of_user(user_id: str, *, limit: int) -> list[Tenant]:
    """The user's first `limit` projects that have memories."""
    found = _tenants({"user_id": user_id}, Tenant("", ""), limit, count="0")
    return [Tenant(*ids) for *ids, _ in found]


def _tenants(
    owner: Mapping[str, str], after: Tenant, limit: int, *, count: str
) -> list[tuple[str, str, int]]:
    whose = " AND ".join(f"m.{name} = %({name})s" for name in owner) or "true"
    statement = TENANTS.format(
        first=NEXT.format(whose=whose, after="%(after_user)s, %(after_project)s"),
        following=NEXT.format(whose=whose, after="tenant.user_id, tenant.project_id"),
        count=count,
    )
    given: dict[str, Any] = {
        **owner,
        "after_user": after.user_id,
        "after_project": after.project_id,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return list(cursor.fetchall())
