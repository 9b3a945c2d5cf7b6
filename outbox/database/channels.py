"""The NOTIFY channels of the outbox."""

from django.db import connection

from outbox.conf import conf

# Relays listen here: events became available, or a django-q2 task was queued.
EVENTS = "outbox_event"
# Readers of the stream listen here: events were recorded that nobody handles.
RECORDED = "outbox_recorded"


def notifies() -> bool:
    """Whether OUTBOX_WAKEUP has the database send NOTIFYs."""
    return bool(conf.WAKEUP == "listen")


def wake(payload: str = "") -> None:
    """Wake the relays when the current transaction commits, or at once without one.

    `payload`: empty for "events became available", or what `outbox.relay.listener` reads.
    """
    if notifies():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [EVENTS, payload])
