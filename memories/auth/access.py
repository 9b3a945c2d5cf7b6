"""The tenants that a caller may see. The condition is part of each query: a row of another tenant is never fetched."""

from dataclasses import dataclass, field
from typing import TypeVar

from django.db.models import Model, QuerySet

from memories.models import APIKey

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Access:
    """Access to every tenant, to all projects of one user, or to one project. None stands for any."""

    user_id: str | None = None
    project_id: str | None = None
    # Whether the caller may erase. Not a part of whose memories they are: quotas count by that.
    may_erase: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, key: APIKey) -> "Access":
        return cls(key.user_id, key.project_id or None, key.may_erase)

    @property
    def named(self) -> dict[str, str]:
        """The ids that are fixed, by the names of their columns."""
        ids = {"user_id": self.user_id, "project_id": self.project_id}
        return {name: value for name, value in ids.items() if value is not None}

    def visible(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """The rows (of a model with user_id and project_id) that the caller may see."""
        return rows.filter(**self.named)

    def covers(self, user_id: str | None, project_id: str | None = None) -> bool:
        """Whether the caller may name these ids in a request. None: the request does not name the id."""
        return _covers(self.user_id, user_id) and _covers(self.project_id, project_id)


def _covers(allowed: str | None, named: str | None) -> bool:
    return allowed is None or named is None or allowed == named


EVERYTHING = Access(may_erase=True)
