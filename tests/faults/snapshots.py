"""A snapshot of the database and the return to it, as a managed PostgreSQL offers them, without another server."""

from django.db import connection, transaction

SCHEMA = "snapshot"
TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission', 'memory_terms_secret')
"""
# Generated columns compute themselves.
COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


def take() -> None:
    """Keep the content of every table. It replaces the snapshot before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
        for table in _tables(cursor):
            cursor.execute(f'CREATE TABLE {SCHEMA}."{table}" AS TABLE public."{table}"')


def restore() -> None:
    """Let every table have its content of the snapshot again. Sequences go on, as after a snapshot they would not."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Without triggers: they would write history and events.
        cursor.execute("SET LOCAL session_replication_role = replica")
        tables = _tables(cursor)
        cursor.execute("TRUNCATE " + ", ".join(f'public."{table}"' for table in tables) + " CASCADE")
        for table in tables:
            cursor.execute(COLUMNS, [f'public."{table}"'])
            columns = cursor.fetchone()[0]
            cursor.execute(
                f'INSERT INTO public."{table}" ({columns}) OVERRIDING SYSTEM VALUE '
                f'SELECT {columns} FROM {SCHEMA}."{table}"'
            )


def drop() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def _tables(cursor: object) -> list[str]:
    cursor.execute(TABLES)  # type: ignore[attr-defined]
    return [name for (name,) in cursor.fetchall()]  # type: ignore[attr-defined]
