"""What an erasure covers."""

from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

from memories.models import Erasure
from memories.tenants import Tenant

Row = TypeVar("Row", bound=Model)

# Whoever left anything: memories, versions of deleted ones, a collection, a conversation, an answer.
TENANTS = """
SELECT user_id, project_id FROM (
    SELECT user_id, project_id FROM memory_logs UNION SELECT user_id, project_id FROM memory_versions
    UNION SELECT user_id, project_id FROM memory_index_generations UNION SELECT user_id, project_id FROM conversations
    UNION SELECT user_id, project_id FROM idempotent_answers
) AS known
WHERE user_id = %(user_id)s AND (%(project_id)s = '' OR project_id = %(project_id)s) ORDER BY 2
"""
# Deleted memories have versions only.
NEWEST = (
    "SELECT greatest(0, (SELECT max(id) FROM memory_logs), (SELECT max(pgh_obj_id) FROM memory_versions))"
)


def newest_id() -> int:
    """The largest id of a memory, be it deleted; 0 without memories."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST)
        return int(cursor.fetchone()[0])


def tenants(erasure: Erasure) -> list[Tenant]:
    """The tenants that the erasure is about and that left anything, in a fixed order."""
    with connection.cursor() as cursor:
        cursor.execute(TENANTS, {"user_id": erasure.user_id, "project_id": erasure.project_id})
        return [Tenant(*row) for row in cursor.fetchall()]


def owner(erasure: Erasure) -> dict[str, str]:
    """The user, and the project if one is named, as columns and as keys of payloads."""
    named = {"user_id": erasure.user_id}
    return named | {"project_id": erasure.project_id} if erasure.project_id else named


def within(erasure: Erasure, rows: "QuerySet[Row, Any]") -> "QuerySet[Row, Any]":
    """Those of the rows (of a model with user_id and project_id) that belong to the user or project."""
    return rows.filter(**owner(erasure))
