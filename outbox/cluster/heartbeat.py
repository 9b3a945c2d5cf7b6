"""Heartbeats: one row a relay, renewed every few seconds. The doctor and the health check read it."""

from uuid import UUID

from django.db import connection

BEAT = """
INSERT INTO outbox_relay (id, host, pid, wakeup) VALUES (%(id)s, %(host)s, %(pid)s, %(wakeup)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), host = excluded.host, pid = excluded.pid, wakeup = excluded.wakeup
"""


def beat(id: UUID, host: str, pid: int, wakeup: str) -> None:
    """Renew this relay's row, and delete the rows that are older than a day."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {"id": id, "host": host, "pid": pid, "wakeup": wakeup})
        cursor.execute("DELETE FROM outbox_relay WHERE seen_at < now() - interval '1 day'")
