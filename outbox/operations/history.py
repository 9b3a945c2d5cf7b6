"""The last half hour of the outbox, a point a minute, read from what the events themselves say.

Only rows that moved in this time are read: the delivered of these minutes from their index, what failed in them,
and what is open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

MINUTES = 30

# What was open at a minute's end is what came until then and went later, or not yet. Of that the oldest is the
# oldest of those that went in any later minute: only a minute's first has to be looked at. An event waits since it
# could first be handed out; one that failed waits since it was published.
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
    """`waiting` and `oldest_seconds` are as of its end; `died` were given up in it; `latency` is p50, p95 and p99 in
    milliseconds of what it delivered; `away` is how many dependencies had
    an open circuit at some moment of it.
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
        return percent(self.delivered, self.delivered + self.failed)


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def last_minutes(minutes: int = MINUTES) -> list[Minute]:
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, {"minutes": minutes})
        return [_minute(row) for row in cursor.fetchall()]


def _minute(row: tuple[Any, ...]) -> Minute:
    start, delivered, failed, died, waiting, latency, oldest, away = row
    percentiles = tuple(round(ms, 2) for ms in latency) if latency else None
    # Nothing older than the minute's end was open: negative, or none at all.
    oldest = max(0.0, round(oldest or 0.0, 1))
    return Minute(start, delivered, failed, died, waiting, percentiles, oldest, away)
