"""Circuits: a dependency that is away is left alone for a growing, capped pause, then tried with one event."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from outbox.conf import conf
from outbox.database.channels import wake
from outbox.exceptions import Unavailable
from outbox.registry import dependencies, handled_types, types_needing

# Workers that fail together open the circuit once: only a probe that found the dependency still away lets the
# pause grow. What the dependency itself asked for (Retry-After) is honoured, above the cap too.
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

# By a person, before a maintenance: not a failure, and tried again only when the time is over.
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

# What it was open for goes on record. The lock lets one of two that close it together find it open.
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

# One prober among all clusters: moving the deadline is what wins. One that handles what waits, as long as there is any:
# another cluster can try nothing, and would take it for well.
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

# How long a probe may take before another is made; its outcome ends it sooner.
PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Snapshot:
    """Dependencies that are left alone, and those whose pause is over and that get one careful try."""

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
    """Leave the dependency alone for a while. Returns the types of event that are not claimed meanwhile: those
    that say they need it, and `types`, which were found to.

    `probing`: this was the one careful try after a pause.
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
    """Leave the dependency alone for so long, whether it answers or not."""
    parameters: dict[str, Any] = {
        "dependency": dependency,
        "types": types_needing(dependency),
        "reason": reason,
        "pause": pause,
    }
    with connection.cursor() as cursor:
        cursor.execute(HOLD, parameters)


def list_dependencies() -> None:
    """A row for each dependency that handlers name, also for those that were never away."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT dependency FROM outbox_circuit")
        if missing := sorted(set(dependencies()) - {name for (name,) in cursor.fetchall()}):
            cursor.execute(LIST, [missing])


def close_circuit(dependency: str) -> bool:
    """Let events that need it be claimed again; returns whether it was open."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, {"dependency": dependency})
        was_open = bool(cursor.rowcount)
    if was_open:
        wake()
    return was_open


def acquire_probes() -> list[tuple[str, list[str]]]:
    """The dependencies that this caller may try once, with the types that need them and are handled here.

    Holds the other clusters off for PROBE_SECONDS. A circuit none of whose types is handled here is left to those
    that handle some; if nobody does for as long, there are none, and any cluster may have it.
    """
    with connection.cursor() as cursor:
        cursor.execute(PROBE, {"seconds": PROBE_SECONDS, "handled": handled_types()})
        return list(cursor.fetchall())


def release_probe(dependency: str) -> None:
    """The try was not made: whoever looks next may make it."""
    with connection.cursor() as cursor:
        cursor.execute(END_PAUSE, {"dependency": dependency})


def is_open(dependency: str) -> bool:
    """Whether the dependency was found away and not back since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM outbox_circuit WHERE dependency = %s AND opened_at IS NOT NULL", [dependency]
        )
        return bool(cursor.rowcount)
