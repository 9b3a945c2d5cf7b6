"""Scrubbing: the words of delivered and waiting events go, and the rows stay for the audit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from django.db import connection, transaction
from django.db.models import Max

from outbox.models import Event

# The key of a payload that tells that the event is scrubbed. Its later failures keep no text (see delivery.outcomes).
MARK = "erased"

# A range of ids, so that a table of millions is read piece by piece.
FIND = """
SELECT id, aggregateid FROM outbox_event
WHERE id > %(after)s AND id <= %(through)s AND aggregatetype = ANY(%(aggregatetypes)s)
  AND payload @> %(containing)s::jsonb AND NOT payload ? %(mark)s
ORDER BY id
"""
# In a statement of its own: SCRUB then sees the failure that another transaction recorded meanwhile.
LOCK = "SELECT id FROM outbox_event WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE"
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
# From the failures on: they are few, and the index on their events leads to these.
OF_FAILURES = """
outbox_failure AS f JOIN outbox_event AS e ON e.id = f.event_id
WHERE f.error <> %(mark)s AND e.aggregatetype = ANY(%(aggregatetypes)s) AND e.payload @> %(containing)s::jsonb
"""
COUNT_FAILURES = f"SELECT count(*) FROM {OF_FAILURES}"
EMPTY_FAILURES = f"""
WITH emptied AS (
    UPDATE outbox_failure SET error = %(mark)s, traceback = '' WHERE id IN (SELECT f.id FROM {OF_FAILURES})
    RETURNING event_id
), events AS (
    UPDATE outbox_event SET last_error = '' WHERE id IN (SELECT event_id FROM emptied)
)
SELECT count(*) FROM emptied
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
    after: int, through: int, aggregatetypes: Collection[str], containing: Mapping[str, Any]
) -> list[tuple[int, str]]:
    """The events with `after` < id <= `through` whose payload contains this and that are not scrubbed yet.

    Returns (id, aggregateid) of each, in the order of the ids.
    """
    parameters: dict[str, Any] = {
        "after": after,
        "through": through,
        "aggregatetypes": list(aggregatetypes),
        "containing": orjson.dumps(containing).decode(),
        "mark": MARK,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND, parameters)
        return list(cursor.fetchall())


def scrub(ids: Sequence[int], *, keep: Collection[str], value: int) -> Scrubbed:
    """Remove all keys but `keep` from the payloads, put `erased: value` there, and empty errors and tracebacks."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK, {"ids": list(ids)})
        cursor.execute(SCRUB, {"ids": list(ids), "keep": list(keep), "mark": MARK, "value": value})
        return Scrubbed(*cursor.fetchone())


def failures(aggregatetypes: Collection[str], containing: Mapping[str, Any], *, empty: bool = False) -> int:
    """Count the failures with a text, of events whose payload contains this; with `empty`, remove their texts.

    For events whose payload has no words and stays.
    """
    parameters: dict[str, Any] = {
        "aggregatetypes": list(aggregatetypes),
        "containing": orjson.dumps(containing).decode(),
        "mark": MARK,
    }
    with connection.cursor() as cursor:
        cursor.execute(EMPTY_FAILURES if empty else COUNT_FAILURES, parameters)
        return int(cursor.fetchone()[0])
