"""Which buffer takes the turns: Redis, or PostgreSQL while Redis is away. The same for all processes at a time.

Were it each process's own choice, a turn in PostgreSQL could be followed by one in Redis with a lower number. So
Redis takes turns only under a *lease*, a key that lives for LEASE_SECONDS and names the switch's generation. Whoever
finds it gone looks at the row in PostgreSQL (once a second, for all processes together) and renews it. Whoever
cannot reach Redis moves the row to the next generation and waits until the last lease has run out before it lets
PostgreSQL take a turn. Blocks of numbers that were lent to Redis in an earlier generation are void there.
"""

import time
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection

from memories.conversations.buffers.redis_client import RedisAway, get_client, translated_errors
from memories.models.conversation import BufferSwitch

LEASE = "semantix:conversations:lease"
# What the lease said last: it goes on under it while PostgreSQL is away, too. Nobody can fail_over turns then.
LAST_LEASE = "semantix:conversations:generation"
LEASE_SECONDS = 1.0
# For the commit of whoever diverts, and the clocks' running apart.
MARGIN_SECONDS = 0.25
# Redis is left alone for so long after it failed.
PAUSE_SECONDS = 5.0

LOOK = """
SELECT generation, extract(epoch FROM clock_timestamp() - diverted_at)::float8,
       redis_run_id = %(run_id)s AND (diverted_at IS NULL OR retry_at > clock_timestamp())
FROM conversation_switch WHERE id = 1
"""
# By who has just reached Redis: ends a diversion whose pause is over, and begins a generation when it is another
# Redis, or was started anew. A statement of its own: the look after it sees what others have done meanwhile.
SETTLE = """
INSERT INTO conversation_switch AS s (id, generation, redis_run_id, reason) VALUES (1, 1, %(run_id)s, '')
ON CONFLICT (id) DO UPDATE
SET diverted_at = CASE WHEN s.retry_at > clock_timestamp() THEN s.diverted_at END,
    generation = s.generation + (s.redis_run_id NOT IN ('', excluded.redis_run_id))::int,
    redis_run_id = excluded.redis_run_id
WHERE s.redis_run_id <> excluded.redis_run_id OR s.diverted_at IS NOT NULL AND s.retry_at <= clock_timestamp()
"""
DIVERT = """
INSERT INTO conversation_switch AS s (id, generation, diverted_at, retry_at, redis_run_id, reason)
VALUES (1, 2, clock_timestamp(), clock_timestamp() + make_interval(secs => %(pause)s), '', %(reason)s)
ON CONFLICT (id) DO UPDATE
SET generation = s.generation + (s.diverted_at IS NULL)::int, reason = excluded.reason,
    diverted_at = coalesce(s.diverted_at, excluded.diverted_at), retry_at = excluded.retry_at
RETURNING generation, extract(epoch FROM clock_timestamp() - diverted_at)::float8
"""


class FailedOver(Exception):
    """Turns go to PostgreSQL, in this generation of the switch."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        super().__init__(f"diverted in generation {generation}")


class State(NamedTuple):
    generation: int
    # Seconds for which turns have gone to PostgreSQL; None: they go to Redis.
    since: float | None


class Pause(NamedTuple):
    until: float
    generation: int


# This process's own memory of a failure, so that not every request waits for the same timeout.
_pause: Pause | None = None


def check() -> None:
    """Raises FailedOver while this process leaves Redis alone."""
    if _pause and time.monotonic() < _pause.until:
        raise FailedOver(_pause.generation)


def end_pause() -> None:
    """Somebody else has reached it again."""
    global _pause
    _pause = None


def fail_over(reason: str) -> FailedOver:
    """From here on turns go to PostgreSQL, in every process; returns when no lease can be good any more."""
    with connection.cursor() as cursor:
        cursor.execute(DIVERT, {"pause": PAUSE_SECONDS, "reason": reason})
        return _diverted(State(*cursor.fetchone()))


def _diverted(state: State) -> FailedOver:
    global _pause
    assert state.since is not None
    time.sleep(max(0.0, LEASE_SECONDS + MARGIN_SECONDS - state.since))
    _pause = Pause(time.monotonic() + PAUSE_SECONDS, state.generation)
    return FailedOver(state.generation)


def renew(redis_now: int) -> None:
    """Let Redis take turns for another LEASE_SECONDS from `redis_now`, its clock (ms) before we looked.

    A lease that is set late, by a process or a Redis that stood still, has run out already.
    Raises FailedOver, RedisAway.
    """
    with translated_errors():
        run_id = get_client().info("server")["run_id"]
        try:
            generation = _look(run_id)
        except (OperationalError, InterfaceError):
            known = get_client().get(LAST_LEASE)
            if known is None:
                raise
            generation = int(known)
        get_client().set(LEASE, generation, pxat=redis_now + int(LEASE_SECONDS * 1000))
        get_client().set(LAST_LEASE, generation)


def _look(run_id: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(LOOK, {"run_id": run_id})
        found = cursor.fetchone()
        if found is None or not found[2]:
            cursor.execute(SETTLE, {"run_id": run_id})
            cursor.execute(LOOK, {"run_id": run_id})
            found = cursor.fetchone()
    state = State(*found[:2])
    if state.since is not None:
        raise _diverted(state)
    return state.generation


def generation() -> int:
    """As PostgreSQL has it. Raises RedisAway where turns are diverted, without waiting for the leases."""
    row = current()
    if row.diverted_at:
        raise RedisAway(row.reason)
    return row.generation


def current() -> BufferSwitch:
    """The row, or what it would say."""
    return BufferSwitch.objects.filter(id=1).first() or BufferSwitch()
