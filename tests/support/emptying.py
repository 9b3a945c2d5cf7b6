"""Empties the database after a test that committed, and leaves its session to the next test.

Django's flush truncates every table and lets every app create its permissions and content types again. That takes a
tenth of a second for each test, and a server that a test started has cached the old ids of content types. Here an
empty table costs nothing, permissions and content types stay, and the schedules come back in one statement.
"""

from django.db import connection, connections
from django.test import TestCase
from psycopg import sql

from outbox.database.triggers import sync_triggers
from outbox.publishing import background

EMPTY = """
DO $$
DECLARE
    name text;
    filled text[] := '{}';
    has_rows boolean;
BEGIN
    FOR name IN SELECT quote_ident(relname) FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                  AND relname NOT IN (
                      'django_migrations', 'django_content_type', 'auth_permission', 'memory_terms_secret',
                      'django_q_schedule')
    LOOP
        EXECUTE 'SELECT EXISTS (SELECT FROM ' || name || ')' INTO has_rows;
        IF has_rows THEN filled := filled || name; END IF;
    END LOOP;
    IF filled <> '{}' THEN
        SET LOCAL session_replication_role = replica;  -- no triggers, which empty tables of this list, too
        EXECUTE 'TRUNCATE ' || array_to_string(filled, ', ') || ' CASCADE';
    END IF;
END $$
"""


SCHEDULES = "SELECT jsonb_agg(schedule)::text FROM django_q_schedule schedule"
# All are due at once, as after a migrate.
BRING_BACK = """
DELETE FROM django_q_schedule;
INSERT INTO django_q_schedule
SELECT schedule.* FROM
    jsonb_array_elements({}) kept,
    jsonb_populate_record(NULL::django_q_schedule, kept || jsonb_build_object('next_run', now())) schedule
"""

# Django gives each test a new session: five milliseconds, and twice that until it has read the catalogue again.
CLEAN_SESSION = "; RESET ALL; RESET ROLE; SELECT pg_advisory_unlock_all(); DISCARD TEMP"

_reset = EMPTY


def keep_the_schedules() -> None:
    """Bring those that the database has now back after each test. They are those that migrate created."""
    global _reset
    with connection.cursor() as cursor:
        cursor.execute(SCHEDULES)
        [kept] = cursor.fetchone()
        _reset = EMPTY + ";" + sql.SQL(BRING_BACK).format(sql.Literal(kept)).as_string(cursor.connection)


def empty_the_tables(_test: object) -> None:
    """Replaces TransactionTestCase._fixture_teardown."""
    assert background.flush(60)
    if connection.connection and not connection.is_usable():  # the test ended all sessions
        connection.close()
    with connection.cursor() as cursor:
        cursor.execute(_reset + CLEAN_SESSION)
    sync_triggers()


def needs_a_new_session(_test: object) -> bool:
    """Replaces TransactionTestCase._should_reload_connections."""
    return any(
        each.alias != "default" or each.in_atomic_block or not each.get_autocommit()
        for each in connections.all(initialized_only=True)
    )


_roll_back = TestCase._fixture_teardown  # type: ignore[attr-defined]  # noqa: SLF001


def roll_back(test: object) -> None:
    """Replaces TestCase._fixture_teardown. What was recorded in the background is committed: a rollback leaves it."""
    _roll_back(test)
    if background._recorder is not None:  # noqa: SLF001 - most tests record nothing
        assert background.flush(60)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM outbox_event")
