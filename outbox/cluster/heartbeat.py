"""Signs of life of the clusters: a row each, refreshed every few seconds, for doctor and health checks."""

from uuid import UUID

from django.db import connection

BEAT = """
INSERT INTO outbox_relay (id, host, pid, wakeup) VALUES (%(id)s, %(host)s, %(pid)s, %(wakeup)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), host = excluded.host, pid = excluded.pid, wakeup = excluded.wakeup
"""


def beat(id: UUID, host: str, pid: int, wakeup: str) -> None:
    """Say that this relay is alive; forget those not heard of for a day."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {"id": id, "host": host, "pid": pid, "wakeup": wakeup})
        cursor.execute("DELETE FROM outbox_relay WHERE seen_at < now() - interval '1 day'")
