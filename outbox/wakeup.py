"""Wakeups: the trigger that NOTIFYs. An optimisation; polling is the floor."""

from typing import Any

from django.db import connection

from outbox.conf import conf

CHANNEL = "outbox_event"

# Statement-level: a batch of a thousand events wakes the relay once. Recorded-only events wake nobody.
CREATE_TRIGGER = f"""
CREATE OR REPLACE FUNCTION outbox_wakeup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted WHERE status = 'pending') THEN
        PERFORM pg_notify('{CHANNEL}', '');
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

TRIGGER_ENABLED = """
SELECT tgenabled <> 'D' FROM pg_trigger WHERE tgname = 'outbox_wakeup' AND tgrelid = to_regclass('outbox_event')
"""


def notifies() -> bool:
    return bool(conf.WAKEUP == "listen")


def wake(payload: str = "") -> None:
    """Have the relays look now, once the current transaction has committed."""
    if notifies():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def sync_trigger(**_: Any) -> None:
    """Enable or disable the trigger as OUTBOX_WAKEUP says, after every migrate. Disabled, inserts pay no NOTIFY."""
    with connection.cursor() as cursor:
        cursor.execute(TRIGGER_ENABLED)
        row = cursor.fetchone()
        if row is not None and row[0] != notifies():
            verb = "ENABLE" if notifies() else "DISABLE"
            cursor.execute(f"ALTER TABLE outbox_event {verb} TRIGGER outbox_wakeup")
