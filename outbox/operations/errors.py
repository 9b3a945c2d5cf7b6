"""Errors in groups: the events of one type that failed with the same message.

Numbers in a message (ids, ports, times) differ from event to event, so they do not count.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import CharField, F, Func, QuerySet, Value
from django.db.models.functions import MD5, Left

from outbox.models import Event, Status

# The most events of each kind that are grouped, and the characters of a message that count.
MOST = 2_000
COMPARED = 300

# Each part reads a partial index, whose order it names: with a limit alone, the planner expects to find enough rows by
# reading the table, which takes seconds if there are none. OFFSET 0 keeps min() and max() from walking through the
# index of all failures by time.
GROUPS = f"""
WITH failing AS (
    (SELECT id, type, status, last_error FROM outbox_event WHERE status = 'dead' ORDER BY type, id LIMIT {MOST})
  UNION ALL
    (SELECT id, type, status, last_error FROM outbox_event
     WHERE status = 'pending' AND attempts > 0 AND batch_limit IS NULL AND last_error <> ''
     ORDER BY type, priority, available_at, id LIMIT {MOST})
  UNION ALL
    (SELECT id, type, status, last_error FROM outbox_event
     WHERE status = 'pending' AND batch_limit IS NOT NULL AND last_error <> ''
     ORDER BY type, priority, available_at, id LIMIT {MOST})
)
SELECT type, status, md5(regexp_replace(left(last_error, {COMPARED}), '[0-9]+', '#', 'g')), min(last_error), count(*),
       min(failure.first), max(failure.last)
FROM failing LEFT JOIN LATERAL (
    SELECT min(at) AS first, max(at) AS last
    FROM (SELECT at FROM outbox_failure WHERE event_id = failing.id OFFSET 0) AS attempt) failure ON true
GROUP BY 1, 2, 3 ORDER BY status, count(*) DESC, max(failure.last) DESC NULLS LAST LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class ErrorGroup:
    """Events of one type and status with the same error. `error` is that of one of them, `key` names the group.

    `first`, `last`: when the first and the last of their attempts failed; None if no attempt is on record.
    """

    type: str
    status: str
    key: str
    error: str
    count: int
    first: datetime | None
    last: datetime | None

    @property
    def is_dead(self) -> bool:
        return self.status == Status.DEAD


def groups(limit: int = 10) -> list[ErrorGroup]:
    """The largest groups: dead letters first, then events that are tried again. Reads at most 6,000 events."""
    with connection.cursor() as cursor:
        cursor.execute(GROUPS, [limit])
        return [
            ErrorGroup(type=type, status=status, key=key, error=error, count=count, first=first, last=last)
            for type, status, key, error, count, first, last in cursor.fetchall()
        ]


def with_error(events: QuerySet[Event], key: str) -> QuerySet[Event]:
    """The events whose error belongs to the group with this key. Narrow them to a status before."""
    same = Func(
        Left(F("last_error"), COMPARED),
        Value("[0-9]+"),
        Value("#"),
        Value("g"),
        function="regexp_replace",
        output_field=CharField(),
    )
    return events.alias(error_key=MD5(same)).filter(error_key=key)
