"""What one client is told: the updates of the tenants it may see, each once, from where it was."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from memories.auth.access import Access
from memories.live.tail import Tail
from memories.live.update import Update
from outbox.queue.stream import Position

# A sign of life, so that neither side, nor a proxy between, takes a quiet connection for a dead one.
HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing new up to this position."""

    position: Position


async def follow(
    tail: Tail, access: Access, position: Position, *, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncIterator[Update | Heartbeat]:
    """Updates after a position; a heartbeat at once, and whenever nothing came for `heartbeat` seconds."""
    yield Heartbeat(position)
    while True:
        page = await tail.after(position)
        if not page:
            if not await tail.wait(heartbeat):
                yield Heartbeat(position)
            continue
        for update in page:
            position = update.position
            if access.covers(update.user_id, update.project_id):
                yield update
