"""The relay's ear: a connection of its own that LISTENs, and claims."""

import logging
import math
import time
from select import select
from typing import Any, NamedTuple

import psycopg
from django.db import connection

from outbox.conf import conf
from outbox.database import channels
from outbox.database.connection import own_connection

logger = logging.getLogger(__name__)


class WorkHint(NamedTuple):
    """What is to be looked at: django-q2's own tasks, and events that became available from a time on, in seconds
    since 1970 (-inf: all, inf: none)."""

    tasks: bool
    since: float

    def __or__(self, other: "WorkHint") -> "WorkHint":
        return WorkHint(self.tasks or other.tasks, min(self.since, other.since))

    def __bool__(self) -> bool:
        return self.tasks or self.since < math.inf


EVENTS, TASKS = WorkHint(False, -math.inf), WorkHint(True, math.inf)
EVERYTHING, NOTHING = WorkHint(True, -math.inf), WorkHint(False, math.inf)

# What a NOTIFY says, besides a time.
EVENT, TASK, ECHO = "", "task", "echo"
SAID = {EVENT: EVENTS, TASK: TASKS, ECHO: NOTHING}


# What else the connection is used for is the claim, prepared: planned once, while little waits, and kept. Indexes
# serve whatever comes. But of an empty table the planner knows nothing, not even which index is the right one.
TUNING = """
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET timezone = 'UTC'
"""
LARGE = "SELECT pg_relation_size(to_regclass('outbox_event')) >= 1048576"


class Listener:
    """Opened on first use, which must come after the fork.

    A broken connection is no error: it is opened anew, and what was said meanwhile counts as heard, so that the
    relay looks at the table and misses nothing.
    """

    # Seconds between two looks whether the connection still listens.
    CHECK_SECONDS = 30.0
    # Seconds until the next try, after one that failed and after one that was not heard.
    RETRY_SECONDS = 5.0
    UNHEARD_SECONDS = 60.0
    ECHO_SECONDS = 2.0

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._heard = NOTHING
        self._may_prepare = False
        self._check_at = 0.0
        self._retry_at = 0.0

    @property
    def hears(self) -> bool:
        return self._connection is not None

    @property
    def session(self) -> psycopg.Connection[Any] | None:
        """The connection where a claim may stay prepared: it hears, and so is direct, and the table has grown."""
        return self._connection if self._may_prepare else None

    def wait(self, seconds: float) -> WorkHint:
        """Block until something was said or `seconds` passed; returns what it was about.

        Without a connection it sleeps, and everything may be new.
        """
        try:
            if self._connection is not None:
                return self._listen(self._connection, seconds)
            if time.monotonic() >= self._retry_at:
                self._connect()
                return EVERYTHING
        except psycopg.Error as error:
            logger.warning(
                "LISTEN does not work (%s); polling every %s s meanwhile.", error, conf.POLL_SECONDS
            )
            self.close()
            return EVERYTHING
        time.sleep(seconds)
        return EVERYTHING

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._heard = NOTHING

    def _listen(self, listening: psycopg.Connection[Any], seconds: float) -> WorkHint:
        if time.monotonic() >= self._check_at:
            self._check(listening)
        self._collect(listening)
        if not self._heard and select([listening], [], [], seconds)[0]:
            listening.pgconn.consume_input()
            self._collect(listening)
        # One look at the table answers all that was said so far.
        heard, self._heard = self._heard, NOTHING
        return heard

    def _collect(self, listening: psycopg.Connection[Any]) -> None:
        """What has arrived. Not by `notifies()`, which is set up anew for each wait and wakes ten times a second."""
        while notify := listening.pgconn.notifies():
            self._hear(notify.extra.decode())

    def _hear(self, said: str) -> None:
        if (look := SAID.get(said)) is None:
            try:
                look = WorkHint(False, float(said))
            except ValueError:
                look = EVERYTHING
        self._heard |= look

    def _check(self, listening: psycopg.Connection[Any]) -> None:
        """Raise when the connection is dead or, behind a pooler, no longer the one that LISTENs."""
        listened = listening.execute("SELECT pg_listening_channels()").fetchall()
        if (channels.EVENTS,) not in listened:
            raise psycopg.OperationalError("the connection no longer listens")
        self._may_prepare = listening.execute(LARGE).fetchone() == (True,)
        self._check_at = time.monotonic() + self.CHECK_SECONDS

    def _connect(self) -> None:
        self._retry_at = time.monotonic() + self.RETRY_SECONDS
        listening = psycopg.connect(**parameters(), autocommit=True)
        try:
            listening.execute(f"LISTEN {channels.EVENTS}")
            heard = self._hears_an_echo(listening)
            if heard:
                # While it claims.
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
            "LISTEN does not arrive: a transaction-mode pooler, most likely. Polling every %s s. Give the cluster "
            "a direct connection, or set OUTBOX_WAKEUP=poll to save the NOTIFYs.",
            conf.POLL_SECONDS,
        )

    def _hears_an_echo(self, listening: psycopg.Connection[Any]) -> bool:
        """Whether a NOTIFY sent over another connection is heard on this one."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [channels.EVENTS, ECHO])
        return any(True for _ in listening.notifies(timeout=self.ECHO_SECONDS, stop_after=1))


def parameters() -> dict[str, Any]:
    """Of the connection that listens: its claims stay prepared, and a silent peer is noticed soon."""
    given = own_connection()
    given.pop("prepare_threshold", None)
    keepalive = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    return {**given, **keepalive, "application_name": "outbox relay"}
