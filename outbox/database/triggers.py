"""The triggers that NOTIFY. They are an optimisation: the relay polls as well."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import connection

from outbox.database.channels import notifies

SQL = Path(__file__).with_name("sql")

# Each trigger by name, and the statements that create it. Migrations run the same statements.
TRIGGERS: Mapping[str, str] = {
    "outbox_wakeup": (SQL / "wakeup.sql").read_text(),
    "outbox_recorded": (SQL / "recorded.sql").read_text(),
}

ENABLED = """
SELECT tgname, tgenabled <> 'D' FROM pg_trigger
WHERE tgname = ANY(%s) AND tgrelid = to_regclass('outbox_event')
"""
CALLED = """
SELECT tgname, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgname = ANY(%s) AND tgrelid = to_regclass('outbox_event')
"""


def drop_statements(name: str) -> str:
    """The statements that remove the trigger and its function."""
    return f"DROP TRIGGER IF EXISTS {name} ON outbox_event; DROP FUNCTION IF EXISTS {name};"


def enabled_triggers() -> dict[str, bool]:
    """The triggers that exist, by name, and whether each is enabled."""
    with connection.cursor() as cursor:
        cursor.execute(ENABLED, [list(TRIGGERS)])
        return dict(cursor.fetchall())


def differing_triggers() -> list[str]:
    """The names of the triggers whose function differs from the one in this version of the app."""
    with connection.cursor() as cursor:
        cursor.execute(CALLED, [list(TRIGGERS)])
        return [name for name, source in cursor.fetchall() if f"$${source}$$" not in TRIGGERS[name]]


def sync_triggers(**_: Any) -> None:
    """Enable or disable the triggers as OUTBOX_WAKEUP says. Runs after every migrate.

    With a disabled trigger, an insert costs no NOTIFY.
    """
    verb = "ENABLE" if notifies() else "DISABLE"
    differing = [name for name, enabled in enabled_triggers().items() if enabled != notifies()]
    with connection.cursor() as cursor:
        for name in differing:
            cursor.execute(f"ALTER TABLE outbox_event {verb} TRIGGER {name}")


def create_triggers() -> None:
    """Create or replace all triggers, then enable or disable them as OUTBOX_WAKEUP says."""
    with connection.cursor() as cursor:
        for create in TRIGGERS.values():
            cursor.execute(create)
    sync_triggers()
