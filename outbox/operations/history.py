"""The last half hour of the outbox, one point a minute, read from the event rows.

Only rows that changed in this time are read: the events delivered in these minutes (from their index), the failures
of these minutes, and the open events.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

MINUTES = 30

# An event was open at the end of a minute if it was published before and ended later or not yet. The oldest of them
# is the oldest event that ended in any later minute or is still open, so each minute needs only its first due event.
# An event waits since it could first be claimed. An event that failed waits since it was published.
HISTORY = """
WITH span AS (
    SELECT date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1) AS start
), minutes AS (
    SELECT generate_series(span.start, date_trunc('minute', now()), interval '1 minute') AS minute FROM span
), moved AS (
    SELECT created_at, CASE WHEN attempts = 1 THEN greatest(created_at, available_at) ELSE created_at END AS due_at,
           delivered_at, delivered_at AS ended_at
    FROM outbox_event, span WHERE status = 'delivered' AND attempts > 0 AND delivered_at >= span.start
  UNION ALL
    SELECT created_at, CASE WHEN attempts = 0 THEN greatest(created_at, available_at) ELSE created_at END, NULL, NULL
    FROM outbox_event WHERE status IN ('pending', 'claimed')
  UNION ALL
    SELECT created_at, created_at, NULL, given_up.at
    FROM (SELECT event_id, max(at) AS at FROM outbox_failure, span WHERE at >= span.start GROUP BY event_id) given_up
    JOIN outbox_event e ON e.id = given_up.event_id AND e.status IN ('dead', 'discarded')
), published AS (
    SELECT greatest(date_bin('1 minute', created_at, span.start), span.start) AS minute, count(*) AS count
    FROM moved, span GROUP BY 1
), ended AS (
    SELECT date_bin('1 minute', ended_at, span.start) AS minute, count(*) AS count,
           count(*) FILTER (WHERE delivered_at IS NULL) AS died, min(due_at) AS first_due
    FROM moved, span WHERE ended_at IS NOT NULL GROUP BY 1
), open AS (
    SELECT min(due_at) AS first_due FROM moved WHERE ended_at IS NULL
), delivered AS (
    SELECT date_bin('1 minute', delivered_at, span.start) AS minute, count(*) AS count,
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP
               (ORDER BY extract(epoch FROM delivered_at - due_at)::float8 * 1000) AS latency
    FROM moved, span WHERE delivered_at IS NOT NULL GROUP BY 1
), away AS (
    SELECT minute, count(DISTINCT dependency) AS count
    FROM minutes JOIN (
        SELECT dependency, opened_at, closed_at FROM outbox_outage, span WHERE closed_at >= span.start
      UNION ALL
        SELECT dependency, opened_at, 'infinity' FROM outbox_circuit WHERE opened_at IS NOT NULL
    ) outage ON opened_at < minute + interval '1 minute' AND closed_at >= minute GROUP BY 1
), failed AS (
    SELECT date_bin('1 minute', at, span.start) AS minute, count(*) AS count FROM outbox_failure, span
    WHERE at >= span.start GROUP BY 1
)
SELECT minute, coalesce(delivered.count, 0), coalesce(failed.count, 0), coalesce(ended.died, 0),
       (sum(coalesce(published.count, 0) - coalesce(ended.count, 0)) OVER (ORDER BY minute))::bigint,
       delivered.latency,
       extract(epoch FROM least(minute + interval '1 minute', now()) - least(open.first_due, min(ended.first_due)
           OVER (ORDER BY minute ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)))::float8,
       coalesce(away.count, 0)
FROM minutes CROSS JOIN open LEFT JOIN published USING (minute) LEFT JOIN ended USING (minute)
LEFT JOIN delivered USING (minute) LEFT JOIN failed USING (minute)
LEFT JOIN away USING (minute)
ORDER BY minute
"""


@dataclass(frozen=True)
class Minute:
    """One minute.

    `delivered`, `failed`: events delivered and attempts failed in it. `died`: events that became dead or discarded.
    `waiting`: open events at its end. `oldest_seconds`: age of the oldest of them, in seconds.
    `latency`: p50, p95 and p99 of its deliveries, in milliseconds; None if there were none.
    `away`: dependencies whose circuit was open at some time of it.
    """

    start: datetime
    delivered: int
    failed: int
    died: int
    waiting: int
    latency: tuple[float, float, float] | None
    oldest_seconds: float
    away: int

    @property
    def success_percent(self) -> float | None:
        """The share of successful attempts; None if there was no attempt."""
        return percent(self.delivered, self.delivered + self.failed)


def percent(part: int, whole: int) -> float | None:
    """`part` in percent of `whole`, with two decimals; None if `whole` is 0."""
    return round(100 * part / whole, 2) if whole else None


def last_minutes(minutes: int = MINUTES) -> list[Minute]:
    """The last minutes, oldest first. The last of them is the current minute."""
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, {"minutes": minutes})
        return [_minute(row) for row in cursor.fetchall()]


def _minute(row: tuple[Any, ...]) -> Minute:
    start, delivered, failed, died, waiting, latency, oldest, away = row
    percentiles = tuple(round(ms, 2) for ms in latency) if latency else None
    # If no older event was open, the age is negative or missing.
    oldest = max(0.0, round(oldest or 0.0, 1))
    return Minute(start, delivered, failed, died, waiting, percentiles, oldest, away)
