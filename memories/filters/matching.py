"""A filter as a condition of a Django query."""

from typing import Any, TypeVar

from django.db import models
from django.db.models import Model, QuerySet

from memories.filters.conditions import COLUMNS
from memories.filters.filters import Filters
from memories.filters.sql import to_sql

Row = TypeVar("Row", bound=Model)


class Matches(models.Func):
    """Whether a row meets the filters. The row may be a memory, or a version of one."""

    output_field = models.BooleanField()

    def __init__(self, filters: Filters, **options: Any) -> None:
        self.filters = filters
        super().__init__(*COLUMNS, **options)

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> Any:  # type: ignore[override]
        """The condition on the columns of the row, and its parameters."""
        columns = {
            name: compiler.compile(column)[0]
            for name, column in zip(COLUMNS, self.get_source_expressions(), strict=True)
        }
        text, parameters = to_sql(self.filters.condition, columns.__getitem__)
        return f"({text})", parameters


def matching(rows: "QuerySet[Row, Any]", filters: Filters) -> "QuerySet[Row, Any]":
    """The rows that meet the filters."""
    return rows.filter(Matches(filters)) if filters else rows
