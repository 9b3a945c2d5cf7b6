"""Scrubbing: the words of delivered and waiting events go, and the rows stay for the audit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from django.db import connection
from django.db.models import Max

from outbox.models import Event

# A range of ids, so that a table of millions is read piece by piece. The mark tells what is scrubbed already.
FIND = """
SELECT id, aggregateid FROM outbox_event
WHERE id > %(after)s AND id <= %(through)s AND aggregatetype = ANY(%(aggregatetypes)s)
  AND payload @> %(containing)s::jsonb AND NOT payload ? %(mark)s
"""
# The type and the aggregate stay, and so does the delivery of an event that still waits: handlers read the rows.
SCRUB = """
WITH scrubbed AS (
    UPDATE outbox_event SET last_error = '', payload = jsonb_build_object(%(mark)s::text, %(value)s::bigint) || (
        SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(payload) WHERE key = ANY(%(keep)s))
    WHERE id = ANY(%(ids)s) RETURNING id
), failures AS (
    UPDATE outbox_failure f SET error = 'erased', traceback = '' FROM scrubbed WHERE f.event_id = scrubbed.id
    RETURNING f.id
)
SELECT (SELECT count(*) FROM scrubbed), (SELECT count(*) FROM failures)
"""


class Scrubbed(NamedTuple):
    """How many rows were changed."""

    events: int
    failures: int


def next_id(after: int) -> int | None:
    """The first id above this one that an event has. Most ids below belong to events that were pruned."""
    found: int | None = Event.objects.filter(id__gt=after).order_by("id").values_list("id", flat=True).first()
    return found


def newest_id() -> int:
    """The largest id of an event, 0 without events."""
    return Event.objects.aggregate(newest=Max("id"))["newest"] or 0


def find(
    after: int, through: int, aggregatetypes: Collection[str], containing: Mapping[str, Any], *, mark: str
) -> list[tuple[int, str]]:
    """The events with `after` < id <= `through` whose payload contains this and does not carry `mark` yet.

    Returns (id, aggregateid) of each.
    """
    parameters: dict[str, Any] = {
        "after": after,
        "through": through,
        "aggregatetypes": list(aggregatetypes),
        "containing": orjson.dumps(containing).decode(),
        "mark": mark,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND, parameters)
        return list(cursor.fetchall())


def scrub(ids: Sequence[int], *, keep: Collection[str], mark: str, value: int) -> Scrubbed:
    """Remove all keys but `keep` from the payloads, put `mark: value` there, and empty errors and tracebacks."""
    with connection.cursor() as cursor:
        cursor.execute(SCRUB, {"ids": list(ids), "keep": list(keep), "mark": mark, "value": value})
        return Scrubbed(*cursor.fetchone())
