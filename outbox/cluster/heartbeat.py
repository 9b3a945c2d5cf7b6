"""Heartbeats: one row for each relay. A claim lives as long as its relay is known to live.

A relay is one cluster: its claims are carried out by any of its processes. So the heartbeat comes from a thread of the
monitor, the process of the cluster that ends last, over a connection of its own. The relay itself, which may wait for
room in the cluster's queue for as long as a task takes, renews the row too, and says how it is woken.

A relay is dead if one of these is true:

- Its main process is gone. Only another process of the same machine knows that, and knows it at once.
- Its session has ended, and it has been silent for GONE_SECONDS. A living relay connects again sooner.
- It has been silent for SILENT_SECONDS: its machine or the network is lost.

After an outage of the database every relay has been silent. So a relay judges the silence of others only by the time
for which it has itself been heard without a gap.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection
from psycopg.types.json import Jsonb

from outbox.cluster import process_identity, workers
from outbox.database import prepared
from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.database.connection import direct_connection

logger = logging.getLogger(__name__)

OnBeat = Callable[[psycopg.Connection[Any], UUID], object]

BEAT_SECONDS = 1.5
GONE_SECONDS = 4.0
SILENT_SECONDS = 12.0

# The first beat of a relay creates its row. It need not wait for the disk: the next beat writes the row again.
BEAT = f"""
WITH forgotten AS (
    DELETE FROM outbox_relay WHERE id <> %(id)s
        AND seen_at < now() - interval '1 day' AND alive_at < now() - interval '1 day'
)
INSERT INTO outbox_relay (id, host, pid, wakeup, process)
SELECT %(id)s, %(host)s, %(pid)s, %(wakeup)s, %(process)s WHERE {ASYNC_COMMIT}
ON CONFLICT (id) DO UPDATE SET seen_at = now(), alive_at = now(), ended_at = NULL,
    host = excluded.host, pid = excluded.pid, wakeup = excluded.wakeup
"""

# `connected`: this is the first beat over a new connection.
ALIVE = """
UPDATE outbox_relay SET alive_at = now(), ended_at = NULL, in_hand = %(in_hand)s, session_pid = session.pid,
    session_started = session.backend_start, alive_since = CASE WHEN %(connected)s THEN now() ELSE alive_since END
FROM pg_stat_activity session WHERE id = %(id)s AND session.pid = pg_backend_pid()
"""
END = """
UPDATE outbox_relay SET alive_at = 'epoch', session_pid = NULL, session_started = NULL, in_hand = '[]' WHERE id = %(id)s
"""

OTHERS = """
SELECT other.id, other.process,
    (other.alive_at < now() - make_interval(secs => %(silent)s)
        AND me.alive_since < now() - make_interval(secs => %(silent)s))
    OR (other.alive_at < now() - make_interval(secs => %(gone)s)
        AND me.alive_since < now() - make_interval(secs => %(gone)s)
        AND NOT EXISTS (SELECT FROM pg_stat_activity session
                        WHERE session.pid = other.session_pid AND session.backend_start = other.session_started))
    OR other.alive_at = 'epoch'
FROM outbox_relay me, outbox_relay other
WHERE me.id = %(me)s AND other.id <> me.id AND other.ended_at IS NULL
"""
ENDED = "UPDATE outbox_relay SET ended_at = now() WHERE id = ANY(%(ids)s)"


def beat(id: UUID, host: str, pid: int, wakeup: str, process: str = "") -> None:
    """Renew this relay's row, and delete rows that are older than a day. The relay calls it.

    `wakeup`: listen or poll. `process`: the identity of the cluster's main process.
    """
    parameters: dict[str, Any] = {"id": id, "host": host, "pid": pid, "wakeup": wakeup, "process": process}
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {**parameters, "own_transaction": own_transaction()})


def dead_relays(me: UUID) -> list[UUID]:
    """The relays that are known to be dead and were not ended yet. `me`: the relay that asks; it must have beaten."""
    others = prepared.rows(OTHERS, {"me": me, "gone": GONE_SECONDS, "silent": SILENT_SECONDS})
    return [id for id, process, silent in others if silent or process_identity.is_gone(process)]


def end_relays(ids: list[UUID]) -> None:
    """Do not return these dead relays again: their claims are free. A relay that beats again is alive."""
    with connection.cursor() as cursor:
        cursor.execute(ENDED, {"ids": ids})


class Heartbeat(threading.Thread):
    """Renews a relay's row over its own connection until the process ends or `stop` is called.

    `on_beat` is called after each beat with the connection and the relay.
    """

    def __init__(self, relay: UUID, on_beat: OnBeat = lambda session, relay: None) -> None:
        super().__init__(name="outbox heartbeat", daemon=True)
        self._relay = relay
        self._on_beat = on_beat
        self._stopped = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._is_quiet = False

    def run(self) -> None:
        while True:
            try:
                self._beat()
            except psycopg.Error as error:
                self._lose(error)
            if self._stopped.wait(BEAT_SECONDS):
                return

    def stop(self) -> None:
        """End the heartbeat of a relay whose workers have ended: what it still claims is free at once."""
        self._stopped.set()
        self.join()
        try:
            with self._connection or self._connect() as session:
                session.execute(END, {"id": self._relay})
        except psycopg.Error as error:
            logger.warning(
                "The relay's end is not recorded (%s). Its claims are free in some seconds.", error
            )

    def _beat(self) -> None:
        connected = self._connection is None
        if self._connection is None:
            self._connection = self._connect()
        parameters = {"id": self._relay, "connected": connected, "in_hand": Jsonb(_in_hand())}
        self._connection.execute(ALIVE, parameters)
        self._on_beat(self._connection, self._relay)
        self._is_quiet = False

    def _lose(self, error: psycopg.Error) -> None:
        if not self._is_quiet:
            logger.warning(
                "The relay's heartbeat does not reach the database (%s). It is tried again.", error
            )
        self._is_quiet = True
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> psycopg.Connection[Any]:
        parameters = {"connect_timeout": 3, **direct_connection(), "application_name": "outbox heartbeat"}
        return psycopg.connect(**parameters, autocommit=True)


def _in_hand() -> list[dict[str, Any]]:
    known = workers.shared()
    return [worker._asdict() for worker in known.in_hand()] if known else []


def install(on_beat: OnBeat = lambda session, relay: None) -> None:
    """Have the monitor of this process's cluster beat for its relay. Call it in the sentinel, before it forks."""
    from django_q import cluster

    if not hasattr(cluster.monitor, "__wrapped__"):
        cluster.monitor = _beating(cluster.monitor, on_beat)


def _beating(monitor: Callable[..., None], on_beat: OnBeat) -> Callable[..., None]:
    @wraps(monitor)
    def beating(result_queue: Any, broker: Any = None) -> None:
        heartbeat = Heartbeat(broker.id, on_beat)
        heartbeat.start()
        monitor(result_queue, broker)
        # The monitor is the last process that the sentinel ends.
        heartbeat.stop()

    return beating


def main_process() -> str:
    """The identity of this process, as the main process of a cluster."""
    return process_identity.identity(os.getpid())
