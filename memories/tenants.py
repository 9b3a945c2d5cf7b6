"""Tenants, and the set of tenants that a command works on."""

from typing import NamedTuple, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)

TENANTS = """
WITH known AS (
    SELECT user_id, project_id FROM memory_logs UNION SELECT user_id, project_id FROM memory_index_generations
)
SELECT user_id, project_id FROM known
WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
  AND (%(project_id)s::text IS NULL OR project_id = %(project_id)s)
ORDER BY 1, 2
"""


class Tenant(NamedTuple):
    """The owner of memories: one project of one user. Tenants share no data."""

    user_id: str
    project_id: str


class Scope(NamedTuple):
    """The tenants that a command works on: all tenants, all projects of one user, or one project."""

    user_id: str | None = None
    # Valid only with a user_id: two users may give their projects the same name.
    project_id: str | None = None

    @property
    def is_everything(self) -> bool:
        return self.user_id is None

    def of(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """The rows (of a model with user_id and project_id) that belong to these tenants."""
        return rows.filter(**{name: value for name, value in self._asdict().items() if value is not None})

    def tenants(self) -> list[Tenant]:
        """The tenants in this scope that have memories or an index, in order."""
        with connection.cursor() as cursor:
            cursor.execute(TENANTS, self._asdict())
            return [Tenant(*row) for row in cursor.fetchall()]


EVERYTHING = Scope()
