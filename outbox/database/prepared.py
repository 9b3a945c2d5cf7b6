"""Statements that PostgreSQL parses once in a session, and mostly plans once.

A statement of many joins takes as long to parse and plan as to run. A prepared one is planned with its values five
times; then PostgreSQL goes on with one plan for all values, if that plan is estimated to cost no more.

Through a transaction-mode pooler the next transaction may be in another session, which does not know the statement.
There the project leaves Django's default for psycopg (`prepare_threshold` None), and nothing is prepared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg import Cursor


class _Prepared(Cursor[Any]):
    """Sends the values apart from the statement, as a prepared statement needs it."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, prepare=True, **options)

    def _send_query_prepared(self, name: bytes, pgq: Any, **options: Any) -> None:
        self._query = pgq  # psycopg forgets it here, and Django logs it
        super()._send_query_prepared(name, pgq, **options)


def rows(statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that does not change from call to call, except for its parameters.

    It must name its columns: after a migration that adds one, PostgreSQL refuses a prepared `SELECT *`.
    """
    with _cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _cursor() -> CursorWrapper:
    """Django's cursor around a prepared one: it logs statements and translates errors as any other."""
    cursor = connection.cursor()
    if connection.connection.prepare_threshold is not None:
        cursor.cursor = _Prepared(connection.connection)
    return cursor
