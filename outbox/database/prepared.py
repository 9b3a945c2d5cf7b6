"""Statements that PostgreSQL parses once in a session, and mostly plans once.

A statement of many joins takes as long to parse and plan as to run. A prepared one is planned with its values five
times; then PostgreSQL goes on with one plan for all values, if that plan is estimated to cost no more.

Through a transaction-mode pooler the next transaction may be in another session, which does not know the statement.
There the project leaves Django's default for psycopg (`prepare_threshold` None), and nothing is prepared.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Model
from psycopg import Cursor

Instance = TypeVar("Instance", bound=Model)


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


def instances(
    model: type[Instance],
    statement: str,
    parameters: Mapping[str, Any],
    *,
    deferred: frozenset[str] = frozenset(),
) -> list[Instance]:
    """Return the rows of a statement as instances of the model, without the layers of a query set.

    `statement`: its `{columns}` stand for the model's columns, with the name of its table.
    `deferred`: the names of fields that are not read. Django reads one from the database when it is used.
    """
    columns = _columns(model, deferred)
    found = rows(statement.format(columns=", ".join(columns.qualified)), parameters)
    return [model.from_db(DEFAULT_DB_ALIAS, columns.names, columns.converted(row)) for row in found]


class _Columns(NamedTuple):
    names: list[str]
    qualified: list[str]
    # The place of each column whose values Django converts, with the functions that do it.
    converters: list[tuple[int, list[Any]]]

    def converted(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for place, functions in self.converters:
            for convert in functions:
                values[place] = convert(values[place], None, connection)
        return values


@cache
def _columns(model: type[Model], deferred: frozenset[str]) -> _Columns:
    meta = model._meta  # noqa: SLF001
    fields: Sequence[Any] = [field for field in meta.concrete_fields if field.name not in deferred]
    return _Columns(
        names=[field.attname for field in fields],
        # A field may read its column in another format.
        qualified=[
            field.select_format(None, f'"{meta.db_table}"."{field.column}"', [])[0] for field in fields
        ],
        converters=[
            (place, converters)
            for place, field in enumerate(fields)
            if (converters := field.get_db_converters(connection))
        ],
    )


def _cursor() -> CursorWrapper:
    """Django's cursor around a prepared one: it logs statements and translates errors as any other."""
    connection.ensure_connection()
    if connection.connection.prepare_threshold is None:
        return connection.cursor()
    connection.validate_thread_sharing()
    cursor: Any = _Prepared(connection.connection)
    return (
        connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)
    )
