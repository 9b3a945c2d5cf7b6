"""The outbox as a stream: a reader sees every recorded event once, in an order that does not change later.

PostgreSQL assigns ids before transactions commit. A reader that remembers only the last id loses events that commit
late. Here a position is (transaction id, event id), and only transactions below the snapshot's horizon are read. All
of them have ended, so no event can appear before a position that a reader has passed. The cost: while a writing
transaction stays open, the reader does not see events of transactions that began after it.

Transaction ids belong to one server. A restore into another server begins a new epoch, which is the third part of a
position, so that a reader of the former server is recognised (see outbox.operations.epoch).
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

# The name of the current epoch; empty before the first restore.
EPOCH = "coalesce((SELECT name FROM outbox_epoch ORDER BY id DESC LIMIT 1), '')"

# An event without a handler (its type is `outbox.declare`d) is recorded as delivered with no attempt. The partial
# index outbox_event_recorded holds these events in this order.
READ = f"""
SELECT xact_id, id, {EPOCH}, type, aggregateid, payload::text, created_at FROM outbox_event
WHERE status = 'delivered' AND attempts = 0 AND type = ANY(%(types)s)
  AND (xact_id, id) > (%(xact_id)s, %(id)s)
  AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY xact_id, id LIMIT %(limit)s
"""

# The same for a reader that wants few of the events. It looks at the next %(limit)s events and returns those whose
# payload contains %(matching)s, and the last one in any case: the reader continues after it. The last column says
# whether the event matches.
READ_MATCHING = f"""
WITH span AS (
    SELECT xact_id, id, type, aggregateid, payload, created_at FROM outbox_event
    WHERE status = 'delivered' AND attempts = 0 AND type = ANY(%(types)s)
      AND (xact_id, id) > (%(xact_id)s, %(id)s)
      AND xact_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    ORDER BY xact_id, id LIMIT %(limit)s
)
SELECT xact_id, id, {EPOCH}, type, aggregateid, payload::text, created_at, payload @> %(matching)s::jsonb FROM span
WHERE payload @> %(matching)s::jsonb
   OR (xact_id, id) = (SELECT xact_id, id FROM span ORDER BY xact_id DESC, id DESC LIMIT 1)
ORDER BY xact_id, id
"""

# All transactions below the horizon have ended. A reader that starts here sees what commits from now on. The last
# column is the first transaction id that is not assigned yet.
HORIZON = f"""
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1, {EPOCH},
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""

LARGEST_ID = 2**63 - 1
FORM = re.compile(r"(?:([0-9a-f]{1,32})\.)?([0-9]{1,40})-([0-9]{1,40})", re.ASCII)


class Position(NamedTuple):
    """A place in the stream. Positions of one epoch have an order. A client sends the text form back to continue."""

    xact_id: int
    id: int
    epoch: str = ""

    def __str__(self) -> str:
        return f"{self.epoch}{'.' if self.epoch else ''}{self.xact_id}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read the text form. Raises ValueError if the text has another form."""
        found = FORM.fullmatch(text)
        if not found:
            raise ValueError(
                f"{text!r} is not a position in the stream: the form is TRANSACTION-ID, two whole numbers, after a "
                "restore EPOCH.TRANSACTION-ID."
            )
        return cls(min(int(found[2]), LARGEST_ID), min(int(found[3]), LARGEST_ID), found[1] or "")


class Horizon(NamedTuple):
    """The end of the stream at one moment."""

    # All events up to here are visible.
    position: Position
    next_xact_id: int

    def is_comparable(self, position: Position) -> bool:
        """Whether the position is one of this server since its last restore, or the beginning of the stream."""
        is_beginning = (position.xact_id, position.id) == (0, 0)
        is_ours = position.epoch == self.position.epoch and position.xact_id < self.next_xact_id
        return is_beginning or is_ours


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
    return Recorded(Position(*row[:3]), *row[3:])


def horizon(row: Sequence[Any]) -> Horizon:
    """The row of HORIZON."""
    return Horizon(Position(int(row[0]), LARGEST_ID, row[1]), int(row[2]))
