"""The NOTIFY channels of the outbox."""

from django.db import connection

from outbox.conf import conf

# Relays listen to it. It says that events became available, or that a django-q2 task was queued.
EVENTS = "outbox_event"
# Readers of the stream listen to it. It says that events without a handler were recorded.
RECORDED = "outbox_recorded"


def notifies() -> bool:
    """Whether OUTBOX_WAKEUP has the database send NOTIFYs."""
    return bool(conf.WAKEUP == "listen")


def wake(payload: str = "") -> None:
    """Wake the relays when the current transaction commits, or at once if there is no transaction.

    `payload`: empty if events became available, else a message that `outbox.relay.listener` knows.
    """
    if notifies():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [EVENTS, payload])
