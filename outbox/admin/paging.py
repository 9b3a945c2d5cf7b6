"""Pagination for tables of millions of rows, without a full count for each page."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from outbox.admin.generic import Paginator

ESTIMATE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass"
# A filtered list is counted up to here: nobody turns more pages than that.
MAX_COUNTED = 10_000


def without(rows: "QuerySet[Any]", types: Sequence[str]) -> "QuerySet[Any]":
    """The rows without these types. The paginator does not count them if nothing else narrows the list.

    To count, it would read all rows of the types that are left out.
    """
    is_whole = not rows.query.where
    rows = rows.exclude(type__in=types)
    if is_whole:
        # A copy of the query keeps it.
        rows.query.conditions_of_a_whole_list = len(rows.query.where.children)  # type: ignore[attr-defined]
    return rows


class BoundedPaginator(Paginator[Any]):
    """Uses the planner's estimate for a whole table, and a bounded count for a filtered one."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        if len(rows.query.where.children) > getattr(rows.query, "conditions_of_a_whole_list", 0):
            return len(rows.order_by().values_list("pk")[: MAX_COUNTED + 1])
        with connection.cursor() as cursor:
            cursor.execute(ESTIMATE, [rows.model._meta.db_table])  # noqa: SLF001
            estimate = int(cursor.fetchone()[0])
        # A table that is small or was never analyzed: an exact count is cheap.
        return estimate if estimate > MAX_COUNTED else rows.count()
