"""Which tenants' memories a caller may see. Asked in the query itself: a row of another tenant is never fetched."""

from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet

from memories.models import APIKey

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Access:
    """To every tenant, to all projects of one user, or to one project. None is "any"."""

    user_id: str | None = None
    project_id: str | None = None

    @classmethod
    def of(cls, key: APIKey) -> "Access":
        return cls(key.user_id, key.project_id or None)

    def visible(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """Those of `rows` (anything with user_id and project_id) that may be seen."""
        wanted = {"user_id": self.user_id, "project_id": self.project_id}
        return rows.filter(**{name: value for name, value in wanted.items() if value is not None})

    def covers(self, user_id: str | None, project_id: str | None = None) -> bool:
        """Whether these may be asked for by name; None is not named, and leaves what may be seen."""
        return _covers(self.user_id, user_id) and _covers(self.project_id, project_id)


def _covers(allowed: str | None, named: str | None) -> bool:
    return allowed is None or named is None or allowed == named


EVERYTHING = Access()
