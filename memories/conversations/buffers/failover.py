"""Failover between the buffers: turns go to Redis, or to PostgreSQL while Redis is away. All processes agree.

If each process chose by itself, a turn in PostgreSQL could be followed by a turn in Redis with a lower number.
Therefore Redis takes turns only under a *lease*: a key that lives for LEASE_SECONDS and holds the generation of the
failover. A process that finds no lease reads the failover's row in PostgreSQL (once a second for all processes
together) and renews it. A process that cannot reach Redis moves the row to the next generation, and waits until the
last lease has expired before it lets PostgreSQL take a turn. Blocks of numbers that Redis got in an earlier generation
are void in the new one.
"""

import threading
import time
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection

from memories.conversations.buffers.redis_client import RedisAway, get_client, translated_errors
from memories.models.conversation import BufferFailover

LEASE = "semantix:conversations:lease"
# The generation of the last lease. It renews the lease while PostgreSQL is away too: nobody can fail over then.
LAST_LEASE = "semantix:conversations:generation"
LEASE_SECONDS = 1.0
# Covers the commit of the failover, and clocks that differ.
MARGIN_SECONDS = 0.25
# After a failure Redis is not asked for this long.
PAUSE_SECONDS = 5.0

READ_STATE = """
SELECT generation, extract(epoch FROM clock_timestamp() - failed_over_at)::float8,
       redis_run_id = %(run_id)s AND (failed_over_at IS NULL OR retry_at > clock_timestamp())
FROM conversation_failover WHERE id = 1
"""
# Runs in a process that has just reached Redis. It ends a failover whose pause is over, and begins a generation if the
# Redis server is another one or was restarted. A statement of its own: READ_STATE then sees what other processes did.
CONFIRM_REDIS = """
INSERT INTO conversation_failover AS f (id, generation, redis_run_id, reason) VALUES (1, 1, %(run_id)s, '')
ON CONFLICT (id) DO UPDATE
SET failed_over_at = CASE WHEN f.retry_at > clock_timestamp() THEN f.failed_over_at END,
    generation = f.generation + (f.redis_run_id NOT IN ('', excluded.redis_run_id))::int,
    redis_run_id = excluded.redis_run_id
WHERE f.redis_run_id <> excluded.redis_run_id OR f.failed_over_at IS NOT NULL AND f.retry_at <= clock_timestamp()
"""
FAIL_OVER = """
INSERT INTO conversation_failover AS f (id, generation, failed_over_at, retry_at, redis_run_id, reason)
VALUES (1, 2, clock_timestamp(), clock_timestamp() + make_interval(secs => %(pause)s), '', %(reason)s)
ON CONFLICT (id) DO UPDATE
SET generation = f.generation + (f.failed_over_at IS NULL)::int, reason = excluded.reason,
    failed_over_at = coalesce(f.failed_over_at, excluded.failed_over_at), retry_at = excluded.retry_at
RETURNING generation, extract(epoch FROM clock_timestamp() - failed_over_at)::float8
"""


class FailedOver(Exception):
    """Turns go to PostgreSQL, in this generation of the failover."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        super().__init__(f"turns go to PostgreSQL in generation {generation}")


class State(NamedTuple):
    generation: int
    # How long turns have gone to PostgreSQL; None: they go to Redis.
    failed_over_seconds: float | None


class Pause(NamedTuple):
    until: float
    generation: int


# The failure that this process knows of, so that not every request waits for the same timeout.
_pause: Pause | None = None
_choosing = threading.Lock()


def is_paused() -> bool:
    """Tell whether this process does not ask Redis now."""
    return _pause is not None and time.monotonic() < _pause.until


def check() -> None:
    """Raises FailedOver while this process does not ask Redis.

    After the pause one request asks. The others go on with PostgreSQL until it knows more: if all of them waited for a
    frozen Redis, no thread would be left for requests that do not need it.
    """
    global _pause
    with _choosing:
        if _pause and is_paused():
            raise FailedOver(_pause.generation)
        if _pause:
            _pause = _pause._replace(until=time.monotonic() + PAUSE_SECONDS)


def end_pause() -> None:
    """Let all requests of this process ask Redis again: it has been reached."""
    global _pause
    _pause = None


def fail_over(reason: str) -> FailedOver:
    """Send turns to PostgreSQL from now on, in every process. Returns when no lease is valid any more."""
    with connection.cursor() as cursor:
        cursor.execute(FAIL_OVER, {"pause": PAUSE_SECONDS, "reason": reason})
        return _failed_over(State(*cursor.fetchone()))


def _failed_over(state: State) -> FailedOver:
    global _pause
    assert state.failed_over_seconds is not None
    time.sleep(max(0.0, LEASE_SECONDS + MARGIN_SECONDS - state.failed_over_seconds))
    _pause = Pause(time.monotonic() + PAUSE_SECONDS, state.generation)
    return FailedOver(state.generation)


def renew(redis_now: int) -> None:
    """Let Redis take turns for LEASE_SECONDS from `redis_now`: Redis' clock (ms) before PostgreSQL was read.

    If this process or Redis was suspended meanwhile, the lease has expired already when it is set.
    Raises FailedOver, RedisAway.
    """
    with translated_errors():
        run_id = get_client().info("server")["run_id"]
        try:
            generation = _confirmed_generation(run_id)
        except (OperationalError, InterfaceError):
            known = get_client().get(LAST_LEASE)
            if known is None:
                raise
            generation = int(known)
        get_client().set(LEASE, generation, pxat=redis_now + int(LEASE_SECONDS * 1000))
        get_client().set(LAST_LEASE, generation)


def _confirmed_generation(run_id: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(READ_STATE, {"run_id": run_id})
        row = cursor.fetchone()
        if row is None or not row[2]:
            cursor.execute(CONFIRM_REDIS, {"run_id": run_id})
            cursor.execute(READ_STATE, {"run_id": run_id})
            row = cursor.fetchone()
    state = State(*row[:2])
    if state.failed_over_seconds is not None:
        raise _failed_over(state)
    return state.generation


def generation() -> int:
    """The generation according to PostgreSQL. Raises RedisAway if turns go to PostgreSQL; does not wait for leases."""
    row = current()
    if row.failed_over_at:
        raise RedisAway(row.reason)
    return row.generation


def current() -> BufferFailover:
    """The failover's row, or an unsaved row with its defaults."""
    return BufferFailover.objects.filter(id=1).first() or BufferFailover()
