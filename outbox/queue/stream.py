"""The outbox read as a stream: every recorded event once, in an order that never changes behind the reader.

Ids are given out before transactions commit, so a reader who remembers the last id it saw loses those that
commit late. The position here is (transaction, id), and only transactions below the snapshot's horizon are read:
each of them has ended, so nothing can appear before a position that was passed. The price: while any writing
transaction stays open, events that began after it wait for it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

# What nobody here handles (`outbox.declare`d types) is recorded as delivered with no attempt.
# A partial index (outbox_event_recorded) holds these in this order.
READ = """
SELECT xact_id, id, type, aggregateid, payload::text, created_at FROM outbox_event
WHERE status = 'delivered' AND attempts = 0 AND type = ANY(%(types)s)
  AND (xact_id, id) > (%(xact_id)s, %(id)s)
  AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY xact_id, id LIMIT %(limit)s
"""

# Everything below the horizon is past; who starts here sees what commits from now on.
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"

LARGEST_ID = 2**63 - 1


class Position(NamedTuple):
    """A place in the stream, ordered; as text it is what a client sends back to go on from there."""

    xact_id: int
    id: int

    def __str__(self) -> str:
        return f"{self.xact_id}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Raises ValueError for what no position ever looked like."""
        xact_id, separator, id = text.partition("-")
        if not (separator and xact_id.isascii() and xact_id.isdigit() and id.isascii() and id.isdigit()):
            raise ValueError(f"{text!r} is no position in the stream")
        return cls(min(int(xact_id), LARGEST_ID), min(int(id), LARGEST_ID))


class Recorded(NamedTuple):
    """An event as the stream gives it; `payload` is its JSON as text."""

    position: Position
    type: str
    aggregateid: str
    payload: str
    created_at: datetime


def read_parameters(types: Sequence[str], after: Position, limit: int) -> dict[str, Any]:
    return {"types": list(types), "xact_id": after.xact_id, "id": after.id, "limit": limit}


def recorded(row: Sequence[Any]) -> Recorded:
    """A row of READ."""
    return Recorded(Position(row[0], row[1]), *row[2:])


def horizon(row: Sequence[Any]) -> Position:
    """The row of HORIZON."""
    return Position(int(row[0]), LARGEST_ID)
