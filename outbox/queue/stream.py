"""The outbox as a stream: a reader sees every recorded event once, in an order that does not change later.

PostgreSQL assigns ids before transactions commit. A reader that remembers only the last id loses events that commit
late. Here a position is (transaction id, event id), and only transactions below the snapshot's horizon are read. All
of them have ended, so no event can appear before a position that a reader has passed. The cost: while a writing
transaction stays open, the reader does not see events of transactions that began after it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

# An event without a handler (its type is `outbox.declare`d) is recorded as delivered with no attempt. The partial
# index outbox_event_recorded holds these events in this order.
READ = """
SELECT xact_id, id, type, aggregateid, payload::text, created_at FROM outbox_event
WHERE status = 'delivered' AND attempts = 0 AND type = ANY(%(types)s)
  AND (xact_id, id) > (%(xact_id)s, %(id)s)
  AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY xact_id, id LIMIT %(limit)s
"""

# The same for a reader that wants few of the events. It looks at the next %(limit)s events and returns those whose
# payload contains %(matching)s, and the last one in any case: the reader continues after it. The last column says
# whether the event matches.
READ_MATCHING = """
WITH span AS (
    SELECT xact_id, id, type, aggregateid, payload, created_at FROM outbox_event
    WHERE status = 'delivered' AND attempts = 0 AND type = ANY(%(types)s)
      AND (xact_id, id) > (%(xact_id)s, %(id)s)
      AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    ORDER BY xact_id, id LIMIT %(limit)s
)
SELECT xact_id, id, type, aggregateid, payload::text, created_at, payload @> %(matching)s::jsonb FROM span
WHERE payload @> %(matching)s::jsonb
   OR (xact_id, id) = (SELECT xact_id, id FROM span ORDER BY xact_id DESC, id DESC LIMIT 1)
ORDER BY xact_id, id
"""

# All transactions below the horizon have ended. A reader that starts here sees what commits from now on.
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"

LARGEST_ID = 2**63 - 1


class Position(NamedTuple):
    """A place in the stream. Positions have an order. A client sends the text form back to continue from there."""

    xact_id: int
    id: int

    def __str__(self) -> str:
        return f"{self.xact_id}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read the text form. Raises ValueError if the text has another form."""
        xact_id, separator, id = text.partition("-")
        if not (separator and xact_id.isascii() and xact_id.isdigit() and id.isascii() and id.isdigit()):
            raise ValueError(
                f"{text!r} is no position in the stream: the form is TRANSACTION-ID, two whole numbers."
            )
        return cls(min(int(xact_id), LARGEST_ID), min(int(id), LARGEST_ID))


class Recorded(NamedTuple):
    """An event of the stream. `payload`: its JSON as text."""

    position: Position
    type: str
    aggregateid: str
    payload: str
    created_at: datetime


def read_parameters(types: Sequence[str], after: Position, limit: int) -> dict[str, Any]:
    """The parameters of READ: up to `limit` events of these types after a position."""
    return {"types": list(types), "xact_id": after.xact_id, "id": after.id, "limit": limit}


def matching_parameters(
    types: Sequence[str], after: Position, limit: int, *, matching: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of READ_MATCHING. `matching`: what the payload of an event must contain; empty for any event."""
    return {**read_parameters(types, after, limit), "matching": json.dumps(matching)}


def recorded(row: Sequence[Any]) -> Recorded:
    """A row of READ as an event."""
    return Recorded(Position(row[0], row[1]), *row[2:])


def horizon(row: Sequence[Any]) -> Position:
    """The row of HORIZON as a position."""
    return Position(int(row[0]), LARGEST_ID)
