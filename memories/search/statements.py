"""Running the statements of a search: prepared ones where the same statement is used again and again."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from django.db import connection

from memories.filters import EVERYTHING, Filters, of_one_project
from outbox.database import prepared


def rows(
    statement: str, parameters: Mapping[str, Any], filters: Filters = EVERYTHING
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement with IS_TENANTS, into which `filters` are put.

    A search without filters in one project is prepared. The others are planned with their values: each filter is
    another statement, and all projects of a user are another number of rows.
    """
    if not filters and parameters["project_id"]:
        return prepared.rows(_for_one_project(statement), parameters)
    with connection.cursor() as cursor:
        cursor.execute(filters.put_into(statement), parameters)
        return list(cursor.fetchall())


@cache
def _for_one_project(statement: str) -> str:
    return of_one_project(EVERYTHING.put_into(statement))


def array(numbers: Iterable[float]) -> str:
    """Return the numbers as PostgreSQL writes an array.

    psycopg would send lists as arrays of the smallest type that fits, and each type is a statement to prepare.
    """
    return "{" + ",".join(map(repr, numbers)) + "}"
