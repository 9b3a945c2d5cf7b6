"""Wakeups: the triggers that NOTIFY. An optimisation; polling is the floor."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from outbox import stream
from outbox.conf import conf

CHANNEL = "outbox_event"

# Statement-level: a batch of a thousand events wakes the relay once. Recorded-only events wake nobody. It says from
# when on the new ones are, in seconds since 1970: the relay need not look through what was delivered before, which
# stays in the index until the next vacuum. (A transaction says the same thing once.)
CREATE_TRIGGER = f"""
CREATE OR REPLACE FUNCTION outbox_wakeup() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    since numeric;
BEGIN
    SELECT extract(epoch FROM min(available_at)) INTO since FROM inserted WHERE status = 'pending';
    IF since IS NOT NULL THEN
        PERFORM pg_notify('{CHANNEL}', since::text);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_wakeup AFTER INSERT ON outbox_event
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION outbox_wakeup();
"""
DROP_TRIGGER = """
DROP TRIGGER IF EXISTS outbox_wakeup ON outbox_event;
DROP FUNCTION IF EXISTS outbox_wakeup;
"""

# Those that only record wake the readers of the stream (outbox.stream) instead.
CREATE_RECORDED_TRIGGER = f"""
CREATE OR REPLACE FUNCTION outbox_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted WHERE status = 'delivered') THEN
        PERFORM pg_notify('{stream.CHANNEL}', '');
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_recorded AFTER INSERT ON outbox_event
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION outbox_recorded();
"""
DROP_RECORDED_TRIGGER = """
DROP TRIGGER IF EXISTS outbox_recorded ON outbox_event;
DROP FUNCTION IF EXISTS outbox_recorded;
"""

# Every trigger that NOTIFYs, and what makes it.
TRIGGERS: Mapping[str, str] = {"outbox_wakeup": CREATE_TRIGGER, "outbox_recorded": CREATE_RECORDED_TRIGGER}

ENABLED = """
SELECT tgname, tgenabled <> 'D' FROM pg_trigger
WHERE tgname = ANY(%s) AND tgrelid = to_regclass('outbox_event')
"""
CALLED = """
SELECT tgname, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgname = ANY(%s) AND tgrelid = to_regclass('outbox_event')
"""


def notifies() -> bool:
    return bool(conf.WAKEUP == "listen")


def wake(payload: str = "") -> None:
    """Have the relays look now, once the current transaction has committed."""
    if notifies():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def enabled_triggers() -> dict[str, bool]:
    """Of the triggers that are there, whether each is enabled."""
    with connection.cursor() as cursor:
        cursor.execute(ENABLED, [list(TRIGGERS)])
        return dict(cursor.fetchall())


def differing_triggers() -> list[str]:
    """Of the triggers that are there, those that call another function than is written here."""
    with connection.cursor() as cursor:
        cursor.execute(CALLED, [list(TRIGGERS)])
        return [name for name, source in cursor.fetchall() if f"$${source}$$" not in TRIGGERS[name]]


def sync_triggers(**_: Any) -> None:
    """Enable or disable them as OUTBOX_WAKEUP says, after every migrate. Disabled, inserts pay no NOTIFY."""
    verb = "ENABLE" if notifies() else "DISABLE"
    differing = [name for name, enabled in enabled_triggers().items() if enabled != notifies()]
    with connection.cursor() as cursor:
        for name in differing:
            cursor.execute(f"ALTER TABLE outbox_event {verb} TRIGGER {name}")


def make_triggers() -> None:
    """All of them anew, as OUTBOX_WAKEUP says."""
    with connection.cursor() as cursor:
        for create in TRIGGERS.values():
            cursor.execute(create)
    sync_triggers()
