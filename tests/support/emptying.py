"""Emptying the database after a test that committed.

Django's own flush truncates every table, and then has every app make its permissions and content types anew: a
tenth of a second a test, and numbers that a server of the test remembers wrongly. Here what is empty costs
nothing, and those stay.
"""

from django.db import connection

from outbox.database.triggers import sync_triggers
from outbox.operations.schedules import ensure_schedules

# The receivers of post_migrate.
AFTER_EVERY_MIGRATE = (sync_triggers, ensure_schedules)

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
                      'django_migrations', 'django_content_type', 'auth_permission', 'memory_terms_secret')
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


def empty_the_tables(_test: object) -> None:
    """In place of TransactionTestCase._fixture_teardown."""
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
    for ensure in AFTER_EVERY_MIGRATE:
        ensure()
