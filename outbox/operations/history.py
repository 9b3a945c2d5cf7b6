"""The last half hour of the outbox, one point a minute.

The clusters count what they deliver, and sample how many events wait (outbox.operations.samples). Beyond that, at most
SAMPLE deliveries of each minute and FAILURES failures are read, so the cost does not grow with the table: 30 ms with a
million deliveries in the half hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

MINUTES = 30
# The percentiles of a minute are those of its newest deliveries, at most this many.
SAMPLE = 300
FAILURES = 20_000

# An event waits since it could first be claimed. An event that failed waits since it was published.
HISTORY = """
WITH span AS (
    SELECT date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1) AS start
), minutes AS (
    SELECT generate_series(span.start, date_trunc('minute', now()), interval '1 minute') AS minute FROM span
), latency AS (
    SELECT minute, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM
        delivered_at - CASE WHEN attempts = 1 THEN greatest(created_at, available_at) ELSE created_at END)::float8
        * 1000) AS percentiles
    FROM minutes CROSS JOIN LATERAL (
        SELECT created_at, available_at, delivered_at, attempts FROM outbox_event
        WHERE status = 'delivered' AND delivered_at >= minute AND delivered_at < minute + interval '1 minute'
        ORDER BY delivered_at DESC LIMIT %(sample)s) AS newest
    WHERE attempts > 0 GROUP BY minute
), failure AS (
    SELECT event_id, at FROM outbox_failure, span WHERE at >= span.start ORDER BY at DESC LIMIT %(failures)s
), failed AS (
    SELECT date_bin('1 minute', at, span.start) AS minute, count(*) AS count FROM failure, span GROUP BY 1
), died AS (
    SELECT date_bin('1 minute', last.at, span.start) AS minute, count(*) AS count
    FROM (SELECT event_id, max(at) AS at FROM failure GROUP BY event_id) last
    JOIN outbox_event e ON e.id = last.event_id AND e.status IN ('dead', 'discarded'), span GROUP BY 1
), away AS (
    SELECT minute, count(DISTINCT dependency) AS count
    FROM minutes JOIN (
        SELECT dependency, opened_at, closed_at FROM outbox_outage, span WHERE closed_at >= span.start
      UNION ALL
        SELECT dependency, opened_at, 'infinity' FROM outbox_circuit WHERE opened_at IS NOT NULL
    ) outage ON opened_at < minute + interval '1 minute' AND closed_at >= minute GROUP BY 1
)
SELECT minute, coalesce(failed.count, 0), coalesce(died.count, 0), latency.percentiles, coalesce(away.count, 0)
FROM minutes LEFT JOIN latency USING (minute) LEFT JOIN failed USING (minute) LEFT JOIN died USING (minute)
LEFT JOIN away USING (minute)
ORDER BY minute
"""
SINCE = "minute >= date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1)"
DELIVERED = f"SELECT minute, cluster, type, delivered FROM outbox_activity WHERE {SINCE}"
WAITING = f"SELECT minute, type, count, oldest_seconds FROM outbox_waiting WHERE {SINCE}"


@dataclass(kw_only=True)
class Minute:
    """One minute.

    `failed`: attempts that failed in it. `died`: events that became dead or discarded.
    `latency`: p50, p95 and p99 of its deliveries, in milliseconds; None if there were none.
    `away`: dependencies whose circuit was open at some time of it.
    `by_type`, `by_cluster`: events delivered in it.
    `waiting`: open events at its beginning, by type. `oldest_seconds`: age of the oldest of them. Both are None if no
    cluster took the sample.
    """

    start: datetime
    failed: int = 0
    died: int = 0
    latency: tuple[float, float, float] | None = None
    away: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    by_cluster: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] | None = None
    oldest_seconds: float | None = None

    @property
    def delivered(self) -> int:
        return sum(self.by_type.values())

    @property
    def success_percent(self) -> float | None:
        """The share of successful attempts; None if there was no attempt."""
        return percent(self.delivered, self.delivered + self.failed)


def percent(part: int, whole: int) -> float | None:
    """`part` in percent of `whole`, with two decimals; None if `whole` is 0."""
    return round(100 * part / whole, 2) if whole else None


def last_minutes(minutes: int = MINUTES) -> list[Minute]:
    """The last minutes, oldest first. The last of them is the current minute."""
    found = {
        start: Minute(
            start=start,
            failed=failed,
            died=died,
            latency=latency and tuple(round(ms, 2) for ms in latency),
            away=away,
        )
        for start, failed, died, latency, away in _rows(HISTORY, minutes)
    }
    for start, cluster, type, delivered in _rows(DELIVERED, minutes):
        if minute := found.get(start):
            _add(minute.by_type, type, delivered)
            _add(minute.by_cluster, cluster, delivered)
    for start, type, count, oldest in _rows(WAITING, minutes):
        if minute := found.get(start):
            _note_waiting(minute, type, count, oldest)
    return list(found.values())


def totals(history: Sequence[Minute], name: str) -> Mapping[str, int]:
    """The sums of `by_type` or `by_cluster` over the minutes, largest first."""
    sums: dict[str, int] = {}
    for minute in history:
        for key, count in getattr(minute, name).items():
            _add(sums, key, count)
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _add(sums: dict[str, int], key: str, count: int) -> None:
    sums[key] = sums.get(key, 0) + count


def _note_waiting(minute: Minute, type: str, count: int, oldest: float | None) -> None:
    minute.waiting = {} if minute.waiting is None else minute.waiting
    if type:
        minute.waiting[type] = count
    else:
        minute.oldest_seconds = round(oldest or 0.0, 1)


def _rows(statement: str, minutes: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"minutes": minutes, "sample": SAMPLE, "failures": FAILURES})
        return list(cursor.fetchall())
