"""The last half hour of the outbox, a point a minute, read from what the events themselves say.

Only rows that moved in this time are read: the delivered of these minutes from their index, and what is open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

MINUTES = 30

# The backlog at a minute's end: what was open before the first minute, and since then what came less what went.
HISTORY = """
WITH span AS (
    SELECT date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1) AS start
), minutes AS (
    SELECT generate_series(span.start, date_trunc('minute', now()), interval '1 minute') AS minute FROM span
), moved AS (
    SELECT created_at, delivered_at FROM outbox_event, span
    WHERE status = 'delivered' AND attempts > 0 AND delivered_at >= span.start
  UNION ALL
    SELECT created_at, NULL FROM outbox_event WHERE status IN ('pending', 'claimed')
), published AS (
    SELECT greatest(date_trunc('minute', created_at), span.start) AS minute, count(*) AS count
    FROM moved, span GROUP BY 1
), delivered AS (
    SELECT date_trunc('minute', delivered_at) AS minute, count(*) AS count,
           percentile_cont(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP
               (ORDER BY extract(epoch FROM delivered_at - created_at) * 1000) AS latency
    FROM moved WHERE delivered_at IS NOT NULL GROUP BY 1
), failed AS (
    SELECT date_trunc('minute', at) AS minute, count(*) AS count FROM outbox_failure, span
    WHERE at >= span.start GROUP BY 1
)
SELECT minute, coalesce(delivered.count, 0), coalesce(failed.count, 0),
       (sum(coalesce(published.count, 0) - coalesce(delivered.count, 0)) OVER (ORDER BY minute))::bigint,
       delivered.latency
FROM minutes LEFT JOIN published USING (minute) LEFT JOIN delivered USING (minute) LEFT JOIN failed USING (minute)
ORDER BY minute
"""


@dataclass(frozen=True)
class Minute:
    """`waiting` at its end; `latency` is p50, p95, p99 and the longest in milliseconds, of what it delivered."""

    start: datetime
    delivered: int
    failed: int
    waiting: int
    latency: tuple[float, float, float, float] | None

    @property
    def success_percent(self) -> float | None:
        tried = self.delivered + self.failed
        return round(100 * self.delivered / tried, 2) if tried else None


def last_minutes(minutes: int = MINUTES) -> list[Minute]:
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, {"minutes": minutes})
        return [_minute(row) for row in cursor.fetchall()]


def _minute(row: tuple[Any, ...]) -> Minute:
    start, delivered, failed, waiting, latency = row
    percentiles = tuple(round(ms, 2) for ms in latency) if latency else None
    return Minute(start, delivered, failed, waiting, percentiles)
