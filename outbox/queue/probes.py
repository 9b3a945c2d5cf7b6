"""Probes: after the pause of a circuit, one event tries the dependency. Its outcome ends or prolongs the outage."""

from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from outbox.conf import conf
from outbox.database import prepared
from outbox.queue.circuits import close_circuit
from outbox.registry import handled_types

# The UPDATE of the deadline elects one prober among all clusters. A cluster that handles a waiting type comes first:
# another cluster has no event to try, and would close the circuit untested.
#
# A probe is lost if no event is claimed with its token, because the worker or the cluster died. The next one starts at
# once. In the first %(claiming)s seconds the prober may not have claimed its event yet.
PROBE = """
UPDATE outbox_circuit c SET probe = %(token)s,
    open_until = statement_timestamp() + make_interval(secs => %(seconds)s)
WHERE opened_at IS NOT NULL AND coalesce(held_until <= statement_timestamp(), true)
  AND (open_until <= statement_timestamp() - CASE
        WHEN types && %(handled)s::text[] THEN interval '0' ELSE make_interval(secs => %(seconds)s) END
    OR (types && %(handled)s::text[]
        AND open_until <= statement_timestamp() + make_interval(secs => %(seconds)s - %(claiming)s)
        AND c.probe IS NOT NULL AND NOT EXISTS (
            SELECT FROM outbox_event e WHERE e.status = 'claimed' AND e.claim_token = c.probe)))
RETURNING dependency, ARRAY(SELECT unnest(types) INTERSECT SELECT unnest(%(handled)s::text[]) ORDER BY 1)
"""

END_PAUSE = """
UPDATE outbox_circuit SET open_until = statement_timestamp(), probe = NULL
WHERE dependency = %(dependency)s AND opened_at IS NOT NULL
"""

# The dependency cannot be probed now, because every waiting event that needs it needs another one too, which is in a
# pause. Try again when that pause is over, at the latest after the longest pause: it may end sooner.
POSTPONE = """
UPDATE outbox_circuit SET probe = NULL, open_until = statement_timestamp() + least(
    make_interval(secs => %(cap)s),
    greatest(make_interval(secs => %(base)s), (
        SELECT max(greatest(other.open_until, other.held_until)) - statement_timestamp() FROM outbox_circuit other
        WHERE other.dependency <> %(dependency)s AND other.types && %(types)s::text[]
          AND (other.opened_at IS NOT NULL OR other.held_until > statement_timestamp()))))
WHERE dependency = %(dependency)s AND opened_at IS NOT NULL
"""

# Whether an event of these types is due. Each part reads one partial index.
WAITS = """
SELECT EXISTS (SELECT FROM unnest(%(types)s::text[]) AS blocked (type) CROSS JOIN LATERAL (
    (SELECT FROM outbox_event e WHERE e.type = blocked.type AND status = 'pending' AND attempts = 0
        AND parked_until IS NULL AND batch_limit IS NULL AND available_at <= statement_timestamp() LIMIT 1)
  UNION ALL
    (SELECT FROM outbox_event e WHERE e.type = blocked.type AND status = 'pending' AND attempts > 0
        AND batch_limit IS NULL AND available_at <= statement_timestamp() LIMIT 1)
  UNION ALL
    (SELECT FROM outbox_event e WHERE e.type = blocked.type AND status = 'pending'
        AND batch_limit IS NOT NULL AND available_at <= statement_timestamp() LIMIT 1)) AS waiting)
"""

BLOCKING = """
SELECT dependency, types FROM outbox_circuit WHERE opened_at IS NOT NULL OR held_until > statement_timestamp()
"""

# Seconds until another probe may start. The outcome or the loss of the first one ends this time sooner.
PROBE_SECONDS = 60.0
# Seconds that a prober has to claim an event after its election.
CLAIMING_SECONDS = 2.0


class Probe(NamedTuple):
    """A dependency that this caller may try once.

    `groups`: the event types that can try it, by the dependencies that they try together. The group with the fewest
    dependencies comes first.
    `blocked`: the types that cannot try it now, because they need another dependency that is held or in a pause.
    """

    dependency: str
    groups: list[tuple[frozenset[str], list[str]]]
    blocked: list[str]


def acquire_probes(token: UUID | None = None) -> list[Probe]:
    """Elect this caller as the prober of the circuits whose pause is over, or whose last probe was lost.

    `token`: the token of the claim that the caller makes for these probes. Without it nobody notices their loss.

    No other cluster probes them for PROBE_SECONDS. A circuit without a type that is handled here is left to the other
    clusters for PROBE_SECONDS; after that time no cluster handles its types, and any caller may close it.
    """
    parameters: dict[str, Any] = {"seconds": PROBE_SECONDS, "claiming": CLAIMING_SECONDS, "token": token}
    # The relay asks four times a second.
    elected: dict[str, list[str]] = dict(prepared.rows(PROBE, {**parameters, "handled": handled_types()}))
    if not elected:
        return []
    with connection.cursor() as cursor:
        cursor.execute(BLOCKING)
        blocking = [(dependency, frozenset(types)) for dependency, types in cursor.fetchall()]
    return [_probe(dependency, types, frozenset(elected), blocking) for dependency, types in elected.items()]


def _probe(
    dependency: str, types: list[str], elected: frozenset[str], blocking: list[tuple[str, frozenset[str]]]
) -> Probe:
    groups: dict[frozenset[str], list[str]] = {}
    blocked = []
    for type in types:
        needs = frozenset(name for name, waiting in blocking if type in waiting)
        if needs <= elected:
            groups.setdefault(needs, []).append(type)
        else:
            blocked.append(type)
    return Probe(dependency, sorted(groups.items(), key=lambda group: (len(group[0]), group[1])), blocked)


def end_unused_probe(probe: Probe) -> None:
    """No event could try the dependency. Close its circuit if none waits for it, else try again later."""
    types = [*probe.blocked, *(type for _, types in probe.groups for type in types)]
    with connection.cursor() as cursor:
        cursor.execute(WAITS, {"types": probe.blocked})
        [waits] = cursor.fetchone()
        if waits:
            parameters: dict[str, Any] = {"dependency": probe.dependency, "types": types}
            cursor.execute(
                POSTPONE, {**parameters, "base": conf.CIRCUIT_BASE_SECONDS, "cap": conf.CIRCUIT_CAP_SECONDS}
            )
            return
    # The next event that needs it finds out whether it answers.
    close_circuit(probe.dependency)


def release_probe(dependency: str) -> None:
    """Give the probe back without a try, so that the next caller can make it."""
    with connection.cursor() as cursor:
        cursor.execute(END_PAUSE, {"dependency": dependency})
