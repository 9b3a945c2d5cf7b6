"""The clusters: which run, which stopped, which are gone. The admin, the doctor and the health check ask here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from outbox.cluster.heartbeat import SILENT_SECONDS

# A cluster that stopped cleanly has 'epoch' there: it is not missed. One that is gone is shown for a while.
CLUSTERS = """
SELECT host, pid, wakeup, started_at, alive_at, extract(epoch FROM clock_timestamp() - alive_at)::float8
FROM outbox_relay WHERE alive_at > now() - interval '5 minutes' ORDER BY host, pid
"""
LAST_SEEN = "SELECT max(nullif(alive_at, 'epoch')) FROM outbox_relay"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """`seen_seconds_ago`: seconds since its last heartbeat. `wakeup`: listen or poll."""

    host: str
    pid: int
    wakeup: str
    started_at: datetime
    seen_at: datetime
    seen_seconds_ago: float

    @property
    def is_alive(self) -> bool:
        """A heartbeat comes every 1.5 s, also while the cluster is busy."""
        return self.seen_seconds_ago < SILENT_SECONDS

    def __str__(self) -> str:
        state = f"seen {self.seen_seconds_ago:.0f} s ago" if self.is_alive else "gone"
        return f"{self.host}:{self.pid}, wakeup by {self.wakeup}, {state}"


def recent() -> list[Cluster]:
    """The clusters with a heartbeat in the last five minutes, without those that stopped cleanly."""
    return [
        Cluster(host=host, pid=pid, wakeup=wakeup, started_at=started, seen_at=seen, seen_seconds_ago=seconds)
        for host, pid, wakeup, started, seen, seconds in _rows(CLUSTERS)
    ]


def alive() -> list[Cluster]:
    return [cluster for cluster in recent() if cluster.is_alive]


def last_seen() -> datetime | None:
    """The last heartbeat of any cluster that did not stop cleanly, in the last day."""
    [(at,)] = _rows(LAST_SEEN)
    found: datetime | None = at
    return found


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
