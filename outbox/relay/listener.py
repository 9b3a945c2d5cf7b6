"""The relay's own connection: it LISTENs, and it runs the prepared claim."""

import logging
import math
import time
from collections.abc import Collection
from typing import Any, NamedTuple

import psycopg
from django.db import connection

from outbox.cluster.ipc import HasFileno, is_any_readable, is_readable
from outbox.conf import conf
from outbox.database import channels
from outbox.database.connection import direct_connection

logger = logging.getLogger(__name__)


class WorkHint(NamedTuple):
    """Where there may be work.

    `tasks`: in django-q2's own queue. `since`: among the fresh events that became available at this time or later, in
    seconds since 1970 (-inf: among all of them, inf: among none). `retries`: among the events that failed before, and
    the suspects.
    """

    tasks: bool
    since: float
    retries: bool = False

    def __or__(self, other: "WorkHint") -> "WorkHint":
        return WorkHint(
            self.tasks or other.tasks, min(self.since, other.since), self.retries or other.retries
        )

    def __bool__(self) -> bool:
        return self.tasks or self.events

    @property
    def events(self) -> bool:
        """Whether there may be events of any kind."""
        return self.retries or self.since < math.inf


EVENTS = WorkHint(tasks=False, since=-math.inf, retries=True)
TASKS = WorkHint(tasks=True, since=math.inf)
RETRIES = WorkHint(tasks=False, since=math.inf, retries=True)
EVERYTHING, NOTHING = EVENTS | TASKS, WorkHint(tasks=False, since=math.inf)

# The payloads of a NOTIFY. Any other payload is a time.
EVENT, TASK, ECHO = "", "task", "echo"
HINTS = {EVENT: EVENTS, TASK: TASKS, ECHO: NOTHING}


# The connection also runs the claim as a prepared statement: PostgreSQL plans it once, often while the table is empty,
# and keeps that plan until a vacuum. These settings make the plan use the indexes, which suit any number of events.
# The statement leaves it no choice among them (see outbox.queue.claim).
TUNING = """
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET timezone = 'UTC'
"""


class Listener:
    """Opens its connection on first use. That must be after the fork.

    A broken connection is no error: the listener connects again and returns EVERYTHING, so that the relay reads the
    table and misses no event.
    """

    # Seconds between two checks that the connection still listens.
    CHECK_SECONDS = 30.0
    # Seconds until the next try after a connection failed.
    RETRY_SECONDS = 5.0
    # Seconds until the next try after no NOTIFY arrived.
    UNHEARD_SECONDS = 60.0
    # Seconds to wait for the test NOTIFY.
    ECHO_SECONDS = 2.0

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._heard = NOTHING
        self._check_at = 0.0
        self._retry_at = 0.0

    @property
    def hears(self) -> bool:
        """Whether NOTIFYs arrive."""
        return self._connection is not None

    @property
    def session(self) -> psycopg.Connection[Any] | None:
        """The connection for a prepared claim; None while there is no direct one."""
        return self._connection

    def has_heard(self) -> bool:
        """Whether a NOTIFY waits for the next call of `wait`."""
        return self._connection is not None and (bool(self._heard) or is_readable(self._connection, 0))

    def wait(self, seconds: float, *, also: Collection[HasFileno] = ()) -> WorkHint:
        """Block until a NOTIFY arrives or `seconds` have passed. Returns the hint of all NOTIFYs so far.

        `also`: files that end the wait when they become readable. Without a connection it sleeps and returns
        EVERYTHING.
        """
        try:
            if self._connection is not None:
                return self._listen(self._connection, seconds, also)
            if time.monotonic() >= self._retry_at:
                self._connect()
                return EVERYTHING
        except psycopg.Error as error:
            logger.warning(
                "LISTEN does not work (%s). The relay polls every %s s until it does.",
                error,
                conf.POLL_SECONDS,
            )
            self.close()
            return EVERYTHING
        is_any_readable(also, seconds)
        return EVERYTHING

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._heard = NOTHING

    def _listen(
        self, listening: psycopg.Connection[Any], seconds: float, also: Collection[HasFileno]
    ) -> WorkHint:
        if time.monotonic() >= self._check_at:
            self._check(listening)
        self._collect(listening)
        if not self._heard and is_any_readable([listening, *also], seconds):
            listening.pgconn.consume_input()
            self._collect(listening)
        # One claim serves all NOTIFYs so far.
        heard, self._heard = self._heard, NOTHING
        return heard

    def _collect(self, listening: psycopg.Connection[Any]) -> None:
        """Read the NOTIFYs that have arrived. psycopg's `notifies()` would wake up ten times a second."""
        while notify := listening.pgconn.notifies():
            self._hear(notify.extra.decode())

    def _hear(self, payload: str) -> None:
        if (hint := HINTS.get(payload)) is None:
            try:
                hint = WorkHint(False, float(payload))
            except ValueError:
                hint = EVERYTHING
        self._heard |= hint

    def _check(self, listening: psycopg.Connection[Any]) -> None:
        """Raise if the connection is dead or, behind a pooler, no longer the one that LISTENs."""
        listened = listening.execute("SELECT pg_listening_channels()").fetchall()
        if (channels.EVENTS,) not in listened:
            raise psycopg.OperationalError("the connection no longer listens")
        self._check_at = time.monotonic() + self.CHECK_SECONDS

    def _connect(self) -> None:
        self._retry_at = time.monotonic() + self.RETRY_SECONDS
        listening = psycopg.connect(**parameters(), autocommit=True)
        try:
            listening.execute(f"LISTEN {channels.EVENTS}")
            heard = self._hears_an_echo(listening)
            if heard:
                # For NOTIFYs that arrive while the connection claims.
                listening.add_notify_handler(lambda notify: self._hear(notify.payload))
                listening.execute(TUNING)
        except BaseException:
            listening.close()
            raise
        if heard:
            self._connection = listening
            self._check(listening)
            return
        listening.close()
        self._retry_at = time.monotonic() + self.UNHEARD_SECONDS
        logger.warning(
            "No NOTIFY arrives, most likely because of a transaction-mode pooler. The relay polls every %s s. Name a "
            "direct connection in OUTBOX_DIRECT_DATABASE (in Semantix: DATABASE_DIRECT_URL), or set "
            "OUTBOX_WAKEUP=poll to save the NOTIFYs.",
            conf.POLL_SECONDS,
        )

    def _hears_an_echo(self, listening: psycopg.Connection[Any]) -> bool:
        """Whether this connection hears a NOTIFY that another connection sends."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [channels.EVENTS, ECHO])
        return any(True for _ in listening.notifies(timeout=self.ECHO_SECONDS, stop_after=1))


def parameters() -> dict[str, Any]:
    """The connection's parameters: it may prepare statements, and keepalives detect a dead peer within 30 s."""
    own = direct_connection()
    own.pop("prepare_threshold", None)
    keepalive = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    return {**own, **keepalive, "application_name": "outbox relay"}
