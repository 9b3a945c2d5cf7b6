"""Circuits: while a dependency is unavailable, its events wait for a growing, capped pause. One probe ends it.

A person may hold a dependency, or an event type: the claim leaves out the types of both in the same way.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from outbox.conf import conf
from outbox.database.channels import wake
from outbox.exceptions import Unavailable
from outbox.models import TYPE_PREFIX, UNTIL_RELEASED
from outbox.registry import dependencies, handled_types, types_needing

# Workers that fail at the same time open the circuit once. Only a failed probe makes the pause longer. The
# dependency's own Retry-After counts, even above the cap.
OPEN = """
INSERT INTO outbox_circuit AS c (dependency, types, failures, reason, opened_at, tried_at, open_until)
VALUES (%(dependency)s, %(types)s, 1, %(reason)s, statement_timestamp(), statement_timestamp(),
        statement_timestamp() + make_interval(secs => greatest(%(base)s, %(retry_after)s)))
ON CONFLICT (dependency) DO UPDATE SET
    reason = excluded.reason,
    types = CASE WHEN c.opened_at IS NULL THEN excluded.types
        ELSE ARRAY(SELECT DISTINCT unnest(c.types || excluded.types)) END,
    failures = CASE WHEN c.opened_at IS NULL THEN 1 WHEN %(probing)s THEN c.failures + 1 ELSE c.failures END,
    opened_at = coalesce(c.opened_at, excluded.opened_at),
    tried_at = excluded.tried_at,
    open_until = CASE
        WHEN c.opened_at IS NULL THEN excluded.open_until
        WHEN %(probing)s THEN statement_timestamp() + make_interval(secs => greatest(
            least(%(cap)s, %(base)s * power(2, least(c.failures, 30))), %(retry_after)s))
        ELSE greatest(c.open_until, statement_timestamp() + make_interval(secs => %(retry_after)s)) END,
    probe = CASE WHEN %(probing)s OR %(retry_after)s > 0 THEN NULL ELSE c.probe END
"""

# A person holds the dependency before a maintenance. No event and no probe calls it before the time is over. What a
# probe that runs now finds out does not change the hold. A paused event type is held in the same way.
HOLD = """
INSERT INTO outbox_circuit AS c (dependency, types, failures, reason, held_at, held_until, hold_reason)
VALUES (%(dependency)s, %(types)s, 0, '', statement_timestamp(),
        coalesce(statement_timestamp() + %(pause)s::interval, %(until_released)s), %(reason)s)
ON CONFLICT (dependency) DO UPDATE SET
    types = ARRAY(SELECT DISTINCT unnest(c.types || excluded.types)),
    held_at = CASE WHEN c.held_until > statement_timestamp() THEN c.held_at ELSE excluded.held_at END,
    held_until = excluded.held_until,
    hold_reason = excluded.hold_reason
"""
END_HOLD = """
UPDATE outbox_circuit SET held_at = NULL, held_until = NULL, hold_reason = ''
WHERE dependency = %(dependency)s AND held_until > statement_timestamp()
"""

LIST = """
INSERT INTO outbox_circuit (dependency, types, failures, reason)
SELECT unnest(%s::text[]), '{}', 0, '' ON CONFLICT DO NOTHING
"""

# The outage goes on record. With the lock, only one of two concurrent callers finds the circuit open.
CLOSE = """
WITH away AS (
    SELECT * FROM outbox_circuit WHERE dependency = %(dependency)s AND opened_at IS NOT NULL FOR UPDATE
), closed AS (
    UPDATE outbox_circuit c SET failures = 0, reason = '', opened_at = NULL, open_until = NULL, probe = NULL,
        types = CASE WHEN c.held_until > statement_timestamp() THEN c.types ELSE '{}' END
    FROM away WHERE c.dependency = away.dependency
)
INSERT INTO outbox_outage (dependency, opened_at, closed_at, failures, reason)
SELECT dependency, opened_at, statement_timestamp(), failures, reason FROM away
"""


@dataclass(frozen=True)
class Snapshot:
    """The dependencies that events wait for: those in a pause or held, and those whose pause is over (half-open)."""

    paused: frozenset[str]
    half_open: frozenset[str]


def snapshot() -> Snapshot:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT dependency, coalesce(open_until > statement_timestamp(), false) "
            "OR coalesce(held_until > statement_timestamp(), false) "
            "FROM outbox_circuit WHERE opened_at IS NOT NULL OR held_until > statement_timestamp()"
        )
        rows = cursor.fetchall()
    return Snapshot(
        paused=frozenset(name for name, paused in rows if paused),
        half_open=frozenset(name for name, paused in rows if not paused),
    )


def open_circuit(unavailable: Unavailable, *types: str, probing: bool = False) -> list[str]:
    """Open the dependency's circuit for a pause.

    `types`: event types that turned out to need the dependency, besides those whose handlers name it in `needs`.
    `probing`: the failed try was the probe after a pause.

    Returns the event types that are not claimed while the circuit is open.
    """
    waiting = sorted({*types, *types_needing(unavailable.dependency)})
    parameters: dict[str, Any] = {
        "dependency": unavailable.dependency,
        "types": waiting,
        "reason": unavailable.reason,
        "retry_after": unavailable.retry_after or 0.0,
        "probing": probing,
        "base": conf.CIRCUIT_BASE_SECONDS,
        "cap": conf.CIRCUIT_CAP_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(OPEN, parameters)
    return waiting


def hold(dependency: str, *, pause: timedelta | None, reason: str) -> None:
    """Let no event call the dependency for `pause`, whether it answers or not. None: until somebody releases it."""
    _hold(dependency, types_needing(dependency), pause, reason)


def hold_type(type: str, *, pause: timedelta | None, reason: str) -> None:
    """Let no event of this type be claimed for `pause`. None: until somebody releases it.

    An event of another type that follows one of this type in its aggregate waits too, because of the order.
    """
    _hold(TYPE_PREFIX + type, [type], pause, reason)


def _hold(dependency: str, types: list[str], pause: timedelta | None, reason: str) -> None:
    parameters: dict[str, Any] = {
        "dependency": dependency,
        "types": types,
        "reason": reason,
        "pause": pause,
        "until_released": UNTIL_RELEASED,
    }
    with connection.cursor() as cursor:
        cursor.execute(HOLD, parameters)


def list_all() -> None:
    """Insert a row for each dependency that a handler names and for each event type, so that the admin lists them."""
    wanted = {*dependencies(), *(TYPE_PREFIX + type for type in handled_types())}
    with connection.cursor() as cursor:
        cursor.execute("SELECT dependency FROM outbox_circuit")
        if missing := sorted(wanted - {name for (name,) in cursor.fetchall()}):
            cursor.execute(LIST, [missing])


def close_circuit(dependency: str) -> bool:
    """Close the circuit, so that its events are claimed again. Returns whether it was open."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, {"dependency": dependency})
        was_open = bool(cursor.rowcount)
    if was_open:
        wake()
    return was_open


def release_type(type: str) -> bool:
    """Let the events of this type be claimed again. Returns whether it was held."""
    return release(TYPE_PREFIX + type)


def release(dependency: str) -> bool:
    """End a person's hold and close the circuit. Returns whether the dependency was held or its circuit open."""
    with connection.cursor() as cursor:
        cursor.execute(END_HOLD, {"dependency": dependency})
        was_held = bool(cursor.rowcount)
    was_open = close_circuit(dependency)
    if was_held and not was_open:
        wake()
    return was_held or was_open


def is_open(dependency: str) -> bool:
    """Whether the dependency's circuit is open, or a person holds the dependency."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM outbox_circuit WHERE dependency = %s "
            "AND (opened_at IS NOT NULL OR held_until > statement_timestamp())",
            [dependency],
        )
        return bool(cursor.rowcount)
