"""Circuits: while a dependency is unavailable, its events wait for a growing, capped pause. One probe ends it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from outbox.conf import conf
from outbox.database.channels import wake
from outbox.exceptions import Unavailable
from outbox.registry import dependencies, handled_types, types_needing

# Workers that fail at the same time open the circuit once. Only a failed probe makes the pause longer. The
# dependency's own Retry-After counts, even above the cap.
OPEN = """
INSERT INTO outbox_circuit AS c (dependency, types, failures, reason, opened_at, open_until)
VALUES (%(dependency)s, %(types)s, 1, %(reason)s, statement_timestamp(),
        statement_timestamp() + make_interval(secs => greatest(%(base)s, %(retry_after)s)))
ON CONFLICT (dependency) DO UPDATE SET
    reason = excluded.reason,
    types = CASE WHEN c.opened_at IS NULL THEN excluded.types
        ELSE ARRAY(SELECT DISTINCT unnest(c.types || excluded.types)) END,
    failures = CASE WHEN c.opened_at IS NULL THEN 1 WHEN %(probing)s THEN c.failures + 1 ELSE c.failures END,
    opened_at = coalesce(c.opened_at, excluded.opened_at),
    open_until = CASE
        WHEN c.opened_at IS NULL THEN excluded.open_until
        WHEN %(probing)s THEN statement_timestamp() + make_interval(secs => greatest(
            least(%(cap)s, %(base)s * power(2, least(c.failures, 30))), %(retry_after)s))
        ELSE greatest(c.open_until, statement_timestamp() + make_interval(secs => %(retry_after)s)) END
"""

# A person opens the circuit before a maintenance. It is no failure, and no probe runs before the time is over.
HOLD = """
INSERT INTO outbox_circuit AS c (dependency, types, failures, reason, opened_at, open_until)
VALUES (%(dependency)s, %(types)s, 0, %(reason)s, statement_timestamp(), statement_timestamp() + %(pause)s)
ON CONFLICT (dependency) DO UPDATE SET
    reason = excluded.reason,
    types = ARRAY(SELECT DISTINCT unnest(c.types || excluded.types)),
    opened_at = coalesce(c.opened_at, excluded.opened_at),
    open_until = excluded.open_until
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
    UPDATE outbox_circuit c SET failures = 0, reason = '', types = '{}', opened_at = NULL, open_until = NULL
    FROM away WHERE c.dependency = away.dependency
)
INSERT INTO outbox_outage (dependency, opened_at, closed_at, failures, reason)
SELECT dependency, opened_at, statement_timestamp(), failures, reason FROM away
"""

# The UPDATE of the deadline elects one prober among all clusters. A cluster that handles a waiting type comes first:
# another cluster has no event to try, and would close the circuit untested.
PROBE = """
UPDATE outbox_circuit SET open_until = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE opened_at IS NOT NULL AND open_until <= statement_timestamp() - CASE
    WHEN types && %(handled)s::text[] THEN interval '0' ELSE make_interval(secs => %(seconds)s) END
RETURNING dependency, ARRAY(SELECT unnest(types) INTERSECT SELECT unnest(%(handled)s::text[]) ORDER BY 1)
"""

END_PAUSE = """
UPDATE outbox_circuit SET open_until = statement_timestamp()
WHERE dependency = %(dependency)s AND opened_at IS NOT NULL
"""

# Seconds until another probe may start. The outcome of the first one ends this time sooner.
PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Snapshot:
    """The dependencies with an open circuit: those in a pause, and those whose pause is over (half-open)."""

    paused: frozenset[str]
    half_open: frozenset[str]


def snapshot() -> Snapshot:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT dependency, open_until > statement_timestamp() FROM outbox_circuit WHERE opened_at IS NOT NULL"
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


def open_manually(dependency: str, *, pause: timedelta, reason: str) -> None:
    """Open the circuit for `pause`, whether the dependency answers or not."""
    parameters: dict[str, Any] = {
        "dependency": dependency,
        "types": types_needing(dependency),
        "reason": reason,
        "pause": pause,
    }
    with connection.cursor() as cursor:
        cursor.execute(HOLD, parameters)


def list_dependencies() -> None:
    """Insert a row for each dependency that a handler names, so that the admin lists all of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT dependency FROM outbox_circuit")
        if missing := sorted(set(dependencies()) - {name for (name,) in cursor.fetchall()}):
            cursor.execute(LIST, [missing])


def close_circuit(dependency: str) -> bool:
    """Close the circuit, so that its events are claimed again. Returns whether it was open."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, {"dependency": dependency})
        was_open = bool(cursor.rowcount)
    if was_open:
        wake()
    return was_open


def acquire_probes() -> list[tuple[str, list[str]]]:
    """Elect this caller as the prober of the circuits whose pause is over.

    Returns (dependency, the waiting types that are handled here) for each. No other cluster probes them for
    PROBE_SECONDS. A circuit without a type that is handled here is left to the other clusters for PROBE_SECONDS;
    after that time no cluster handles its types, and any caller may close it.
    """
    with connection.cursor() as cursor:
        cursor.execute(PROBE, {"seconds": PROBE_SECONDS, "handled": handled_types()})
        return list(cursor.fetchall())


def release_probe(dependency: str) -> None:
    """Give the probe back without a try, so that the next caller can make it."""
    with connection.cursor() as cursor:
        cursor.execute(END_PAUSE, {"dependency": dependency})


def is_open(dependency: str) -> bool:
    """Whether the dependency's circuit is open."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM outbox_circuit WHERE dependency = %s AND opened_at IS NOT NULL", [dependency]
        )
        return bool(cursor.rowcount)
