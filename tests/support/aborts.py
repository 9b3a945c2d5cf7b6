"""Ends this process's session with PostgreSQL before or after a chosen statement or COMMIT, and records the states that
each COMMIT leaves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

# Each table, with its columns that differ from run to run: ids, times, tokens, arrays without an order.
# Which words of a text are sampled depends on its id.
TABLES = """
SELECT table_name, array_agg(column_name::text) FILTER (WHERE data_type IN ('timestamp with time zone', 'uuid')
    OR column_name IN ('id', 'pgh_id', 'xact_id', 'aggregateid', 'prefix', 'hashed_key', 'duplicate_of')
    OR column_name IN ('name', 'types') OR (column_name LIKE '%\\_id'
        AND column_name NOT IN ('user_id', 'project_id', 'conversation_id', 'external_id')))
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name !~ '^(django_|auth_|memory_terms)'
GROUP BY table_name
"""
# Its rows as text. Ids and times stand in JSON, too.
ROWS = """
SELECT %s AS name, regexp_replace(regexp_replace((to_jsonb(t) - %s::text[])::text,
    '\\d+-\\d\\d-\\d\\dT[\\d:.+Z]+', 'TIME', 'g'), '"([a-z_]*_id|replay_of|erased)": "?\\d+"?', '"\\1": ID', 'g')
FROM "{table}" t
"""

State = tuple[tuple[str, str], ...]


class Observer:
    """Reads the whole database over a session of its own, as others see it."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        for name in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(name, None)
        self.session = psycopg.connect(**parameters, autocommit=True)
        tables = self.session.execute(TABLES).fetchall()
        # Faster than TRUNCATE for a few rows. No triggers, which write rows.
        self._empty = "SET session_replication_role = replica;" + "".join(
            f'DELETE FROM "{name}";' for name, _ in tables
        )
        self._query = " UNION ALL ".join(ROWS.format(table=name) for name, _ in tables) + " ORDER BY 1, 2"
        self._names = [value for name, columns in tables for value in (name, columns or [])]

    def state(self) -> State:
        return tuple((name, row) for name, row in self.session.execute(self._query, self._names))

    def empty(self) -> None:
        """Delete all rows. Those that Django keeps for itself stay."""
        self.session.execute(self._empty)

    def end_session(self) -> None:
        """Terminate the session of Django's connection, and wait for its end."""
        pid = connection.connection.info.backend_pid
        self.session.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


class Steps:
    """The moments around each statement and COMMIT of Django's connection inside `watch()`.

    The session ends at the moment number `end_at`. `states`: what each COMMIT left, if nothing ends.
    """

    def __init__(self, observer: Observer, *, end_at: int = 0) -> None:
        self.count = 0
        self.states: list[State] = []
        self.ended_at = ""
        self._observer = observer
        self._end_at = end_at

    @contextmanager
    def watch(self) -> Iterator[None]:
        commit = connection._commit  # noqa: SLF001

        def committed() -> None:
            self._before("COMMIT")
            commit()
            self._after("COMMIT")

        connection._commit = committed  # type: ignore[method-assign]  # noqa: SLF001
        try:
            with connection.execute_wrapper(self._statement):
                yield
        finally:
            del connection._commit  # the class's own again  # noqa: SLF001

    def _statement(self, execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        self._before(sql)
        result = execute(sql, *rest)
        if connection.get_autocommit():
            self._after(sql)
        return result

    def _before(self, sql: str) -> None:
        """The session ends, and the statement fails."""
        if self._is_the_moment(f"before {sql}"):
            self._observer.end_session()

    def _after(self, sql: str) -> None:
        """The statement is committed, and its answer is lost."""
        if not self._end_at:
            self.states.append(self._observer.state())
        if self._is_the_moment(f"after {sql}"):
            self._observer.end_session()
            with connection.wrap_database_errors:
                connection.connection.execute("SELECT 1")

    def _is_the_moment(self, name: str) -> bool:
        self.count += 1
        if self.count != self._end_at:
            return False
        self.ended_at = " ".join(name.split())[:100]
        return True
