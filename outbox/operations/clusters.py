"""The clusters: which run, which stopped, which are gone. The admin, the doctor and the health check ask here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from outbox.cluster.heartbeat import SILENT_SECONDS
from outbox.cluster.workers import InHand

# A cluster that stopped cleanly has 'epoch' there: it is not missed. One that is gone is shown for a while.
# Claimed events are few: a partial index holds them.
CLUSTERS = """
SELECT host, pid, wakeup, started_at, alive_at, extract(epoch FROM clock_timestamp() - alive_at)::float8,
       in_hand, coalesce(claimed.count, 0)
FROM outbox_relay LEFT JOIN (
    SELECT relay, count(*) AS count FROM outbox_event WHERE status = 'claimed' GROUP BY relay) claimed
    ON claimed.relay = outbox_relay.id
WHERE alive_at > now() - interval '1 hour' ORDER BY host, pid
"""
LAST_SEEN = "SELECT max(nullif(alive_at, 'epoch')) FROM outbox_relay"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """`seen_seconds_ago`: seconds since its last heartbeat. `wakeup`: listen or poll.

    `claimed`: the events that it has claimed. `workers`: each living worker at the last heartbeat.
    """

    host: str
    pid: int
    wakeup: str
    started_at: datetime
    seen_at: datetime
    seen_seconds_ago: float
    claimed: int
    workers: Sequence[InHand]

    @property
    def is_alive(self) -> bool:
        """A heartbeat comes every 1.5 s, also while the cluster is busy."""
        return self.seen_seconds_ago < SILENT_SECONDS

    def __str__(self) -> str:
        state = f"seen {self.seen_seconds_ago:.0f} s ago" if self.is_alive else "gone"
        return f"{self.host}:{self.pid}, wakeup by {self.wakeup}, {state}"


def recent() -> list[Cluster]:
    """The clusters with a heartbeat in the last hour, without those that stopped cleanly."""
    return [_cluster(*row) for row in _rows(CLUSTERS)]


def alive() -> list[Cluster]:
    return [cluster for cluster in recent() if cluster.is_alive]


def last_seen() -> datetime | None:
    """The last heartbeat of any cluster that did not stop cleanly, in the last day."""
    [(at,)] = _rows(LAST_SEEN)
    found: datetime | None = at
    return found


def _cluster(
    host: str,
    pid: int,
    wakeup: str,
    started: datetime,
    seen: datetime,
    seconds: float,
    in_hand: str | list[dict[str, Any]],
    claimed: int,
) -> Cluster:
    # Django's cursor returns jsonb as text.
    workers = json.loads(in_hand) if isinstance(in_hand, str) else in_hand
    return Cluster(
        host=host,
        pid=pid,
        wakeup=wakeup,
        started_at=started,
        seen_at=seen,
        seen_seconds_ago=seconds,
        claimed=claimed,
        workers=[InHand(**worker) for worker in workers],
    )


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
