"""Counts, latency and rates of the outbox, for outbox_status, the admin and /metrics.

Every query reads a partial index or a bounded number of the newest rows, so that old delivered events cost only their
count. Measured with 1,000,000 delivered and 100,000 waiting events: 20 ms for the backlog, 50 ms for the count of the
delivered events in their index.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from outbox.models import TYPE_PREFIX, Circuit, EventType, Status
from outbox.operations import clusters

# Each part of the union is one index-only scan of events that are not delivered. A type waits since its oldest event
# does. An event without an attempt waits since `available_at`; an event for later does not count. The `available_at`
# of a failed event is its next try, so its `created_at` counts instead.
BACKLOG = """
WITH backlog (type, status, count, retrying, since) AS (
    SELECT type, 'pending', count(*), 0, min(available_at) FILTER (WHERE available_at <= now())
    FROM outbox_event WHERE status = 'pending' AND attempts = 0 AND parked_until IS NULL GROUP BY type
  UNION ALL
    SELECT type, 'pending', count(*), 0, min(available_at)
    FROM outbox_event WHERE status = 'pending' AND attempts = 0 AND parked_until IS NOT NULL GROUP BY type
  UNION ALL
    SELECT again.type, 'pending', again.count, again.count, oldest.created_at
    FROM (SELECT type, count(*) AS count, min(id) AS id FROM outbox_event
          WHERE status = 'pending' AND attempts > 0 GROUP BY type) AS again
    JOIN outbox_event oldest ON oldest.id = again.id
  UNION ALL
    SELECT type, status, count(*), 0, NULL
    FROM outbox_event WHERE status = 'claimed' GROUP BY type, status
  UNION ALL
    SELECT type, status, count(*), 0, NULL
    FROM outbox_event WHERE status IN ('dead', 'discarded') GROUP BY type, status
)
SELECT type, status, sum(count)::bigint, sum(retrying)::bigint,
       extract(epoch FROM clock_timestamp() - min(since))::float8
FROM backlog GROUP BY type, status
"""
# The newest sample of a cluster, if it is not old, and the events that a person or a worker has.
SAMPLE = """
SELECT type, count, oldest_seconds FROM outbox_waiting
WHERE minute = (SELECT max(minute) FROM outbox_waiting WHERE minute > now() - interval '3 minutes')
"""
NOT_PENDING = """
SELECT type, status, count(*), 0, NULL FROM outbox_event WHERE status = 'claimed' GROUP BY type, status
UNION ALL
SELECT type, status, count(*), 0, NULL FROM outbox_event WHERE status IN ('dead', 'discarded') GROUP BY type, status
"""
# Above it a page shows the sample: to count a million waiting events takes half a second.
COUNTED = 200_000

# Most rows of the table are delivered. Up to a limit they are counted in their index. Above it the planner's estimate
# is used: it is as old as the last vacuum or analyze, and about 1 % off.
DELIVERED = (
    "SELECT count(*) FROM (SELECT FROM outbox_event WHERE status = 'delivered' LIMIT %s + 1) AS counted"
)
DELIVERED_ESTIMATE = (
    "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'outbox_event_delivered'::regclass"
)

# attempts > 0 leaves out the events that were only recorded.
RATES = """
SELECT type, count(*) FROM outbox_event
WHERE status = 'delivered' AND delivered_at > now() - interval '1 minute' AND attempts > 0 GROUP BY type
"""
FAILURES = "SELECT count(*) FROM outbox_failure WHERE at > now() - interval '1 minute'"

# The latency is that of this many of the newest delivered events.
NEWEST = 10_000
# The latency starts when an event could first be claimed: at `available_at` if it was delivered at the first attempt.
LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM
    delivered_at - CASE WHEN attempts = 1 THEN greatest(created_at, available_at) ELSE created_at END) * 1000)
FROM (SELECT delivered_at, created_at, available_at, attempts FROM outbox_event
      WHERE status = 'delivered' AND delivered_at > now() - interval '1 hour'
      ORDER BY delivered_at DESC LIMIT %s) AS newest
WHERE attempts > 0
"""


RELAYS_SHOWN_SECONDS = 300


@dataclass(kw_only=True)
class TypeStatistics:
    """One event type. `retrying` are those of `pending` that failed before; `oldest_pending_seconds` is how long
    the oldest waits since it was due, None when none is."""

    pending: int = 0
    retrying: int = 0
    claimed: int = 0
    dead: int = 0
    discarded: int = 0
    oldest_pending_seconds: float | None = None
    delivered_per_minute: int = 0


@dataclass(frozen=True)
class Count:
    """A number of events. `estimated`: an exact count would have taken too long."""

    value: int
    estimated: bool = False


@dataclass(frozen=True)
class Latency:
    """Milliseconds from due to delivered, of up to 10,000 events of the last hour; None if there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, kw_only=True)
class RelayStatistics:
    host: str
    pid: int
    wakeup: str
    seen_seconds_ago: float


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """All statistics at one time. All counts are exact, except `delivered` if it says so."""

    by_type: Mapping[str, TypeStatistics]
    delivered: Count
    latency: Latency
    failed_attempts_per_minute: int
    circuits: list[Circuit] = field(default_factory=list)
    paused_types: list[EventType] = field(default_factory=list)
    relays: list[RelayStatistics] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of the count `name` of TypeStatistics over all types."""
        return sum(getattr(of_type, name) for of_type in self.by_type.values())

    @property
    def oldest_pending_seconds(self) -> float | None:
        ages = (of_type.oldest_pending_seconds for of_type in self.by_type.values())
        return max((age for age in ages if age is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """The answer of `outbox_status --json`."""
        return {
            **{name: self.total(name) for name in ("pending", "retrying", "claimed")},
            "delivered": self.delivered.value,
            "delivered_is_estimated": self.delivered.estimated,
            **{name: self.total(name) for name in ("dead", "discarded")},
            "oldest_pending_seconds": self.oldest_pending_seconds,
            "latency_ms": asdict(self.latency),
            "delivered_per_minute": self.total("delivered_per_minute"),
            "failed_attempts_per_minute": self.failed_attempts_per_minute,
            "circuits": [_circuit(circuit) for circuit in self.circuits],
            "paused_types": [_paused(type) for type in self.paused_types],
            "relays": [asdict(relay) for relay in self.relays],
            "by_type": {type: asdict(of_type) for type, of_type in sorted(self.by_type.items())},
        }


def collect(*, exact_up_to: int = 1_000_000) -> Statistics:
    """Read all statistics. More than `exact_up_to` delivered rows are estimated: to count a million takes 50 ms."""
    return Statistics(
        by_type=by_type(),
        delivered=delivered(exact_up_to=exact_up_to),
        latency=latency(),
        failed_attempts_per_minute=_rows(FAILURES)[0][0],
        circuits=open_circuits(),
        paused_types=paused_types(),
        relays=relays(),
    )


def backlog_or_sample() -> tuple[dict[str, TypeStatistics], bool]:
    """Do what `backlog` does, in a bounded time. Returns the types, and whether the waiting events are a sample.

    If many events wait, their numbers are those of the last minute.
    """
    sample = {type: (count, oldest) for type, count, oldest in _rows(SAMPLE)}
    if sum(count for count, _ in sample.values()) < 2 * COUNTED:  # '' counts all of them again
        return backlog(), False
    types = _by_type(_rows(NOT_PENDING))
    _all, longest = sample.pop("")
    for type, (count, _) in sample.items():
        of_type = types.setdefault(type, TypeStatistics())
        of_type.pending, of_type.oldest_pending_seconds = max(0, count - of_type.claimed), longest
    return types, True


def backlog() -> dict[str, TypeStatistics]:
    """The events that are not delivered, by type. Delivered events do not make it slower."""
    return _by_type(_rows(BACKLOG))


def _by_type(rows: Iterable[tuple[Any, ...]]) -> dict[str, TypeStatistics]:
    types: dict[str, TypeStatistics] = {}
    for type, status, count, retrying, oldest in rows:
        of_type = types.setdefault(type, TypeStatistics())
        setattr(of_type, status, count)
        if status == Status.PENDING:
            of_type.retrying = retrying
            of_type.oldest_pending_seconds = oldest
    return types


def by_type() -> dict[str, TypeStatistics]:
    """The backlog, and the deliveries of the last minute, by type. It reads a row for each of them."""
    types = backlog()
    for type, count in _rows(RATES):
        types.setdefault(type, TypeStatistics()).delivered_per_minute = count
    return types


def delivered(*, exact_up_to: int) -> Count:
    """How many delivered events are kept. Recorded events count too."""
    [(counted,)] = _rows(DELIVERED, [exact_up_to])
    if counted <= exact_up_to:
        return Count(counted)
    [(estimate,)] = _rows(DELIVERED_ESTIMATE)
    return Count(max(counted, estimate), estimated=True)


def latency() -> Latency:
    """The latency of recent deliveries. It reads at most NEWEST rows."""
    [(percentiles,)] = _rows(LATENCY, [NEWEST])
    return Latency(*(round(milliseconds, 3) for milliseconds in percentiles or ()))


def open_circuits() -> list[Circuit]:
    """The circuits that are open, and the dependencies that a person holds."""
    waiting = Q(opened_at__isnull=False) | Q(held_until__gt=Now())
    rows = Circuit.objects.filter(waiting).exclude(dependency__startswith=TYPE_PREFIX)
    return list(rows.order_by("dependency"))


def paused_types() -> list[EventType]:
    """The event types that a person paused."""
    return list(EventType.objects.filter(held_until__gt=Now()).order_by("dependency"))


def relays() -> list[RelayStatistics]:
    """The clusters with a heartbeat in the last five minutes, without those that stopped cleanly."""
    return [
        RelayStatistics(
            host=found.host,
            pid=found.pid,
            wakeup=found.wakeup,
            seen_seconds_ago=round(found.seen_seconds_ago, 1),
        )
        for found in clusters.recent()
        if found.seen_seconds_ago < RELAYS_SHOWN_SECONDS
    ]


def _circuit(circuit: Circuit) -> dict[str, Any]:
    return {
        "dependency": circuit.dependency,
        "failures": circuit.failures,
        "reason": circuit.reason,
        "opened_at": circuit.opened_at and circuit.opened_at.isoformat(),
        "open_until": circuit.open_until and circuit.open_until.isoformat(),
        "held_until": circuit.held_until and circuit.held_until.isoformat(),
        "hold_reason": circuit.hold_reason,
    }


def _paused(type: EventType) -> dict[str, Any]:
    return {
        "type": type.name,
        "since": type.held_at and type.held_at.isoformat(),
        "until": type.hold_ends and type.hold_ends.isoformat(),
        "reason": type.hold_reason,
    }


def _rows(sql: str, parameters: list[int] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
