"""Begin a new epoch of the stream: after a restore, or on another server."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from outbox.queue.lost import reclaim_all

# Transaction ids that this server has not assigned yet come from another one. While they are above the horizon, the
# events cannot be read; later they would appear in the middle of the stream, as new events.
AHEAD = "xact_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
# The partial index of recorded events has the largest transaction id at its end.
IS_AHEAD = f"""
SELECT coalesce(bool_or({AHEAD}), false) FROM (
    SELECT xact_id FROM outbox_event WHERE status = 'delivered' AND attempts = 0 ORDER BY xact_id DESC, id DESC LIMIT 1
) AS newest
"""


@dataclass(frozen=True)
class Begun:
    """What the new epoch changed."""

    epoch: str
    # Events with transaction ids of another server.
    moved: int
    # Events that clusters of the former server had claimed.
    reclaimed: int


def new_name() -> str:
    """A name for an epoch, which no other has."""
    return secrets.token_hex(8)


def statements(name: str) -> Sequence[str]:
    """The statements that begin an epoch, for a restore that does it in its own transaction. Then `reclaim` is due."""
    return (
        f"INSERT INTO outbox_epoch (name) VALUES ('{name}');",
        # Transaction 0 is before every position. The order of these events is then that of their ids.
        f"UPDATE outbox_event SET xact_id = 0 WHERE {AHEAD};",
        "DELETE FROM outbox_relay;",
    )


@transaction.atomic
def begin_epoch() -> Begun:
    """Make the stream and the queue of a restored database ready for this server. Only while nothing else runs.

    Readers that resume from a position of the former epoch are told so and continue at the end of the stream.
    """
    name = new_name()
    begin, move, forget = statements(name)
    with connection.cursor() as cursor:
        cursor.execute(begin)
        cursor.execute(move)
        moved = cursor.rowcount
        cursor.execute(forget)
    return Begun(name, moved, reclaim_all())


def is_ahead() -> bool:
    """Whether recorded events have transaction ids of another server: the sign of a restore without a new epoch."""
    with connection.cursor() as cursor:
        cursor.execute(IS_AHEAD)
        [found] = cursor.fetchone()
    return bool(found)
