"""The updates of one client: those of the tenants that it may see, each once, after its position."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from memories.auth.access import Access
from memories.live.reader import Start
from memories.live.tail import Tail
from memories.live.update import Update
from outbox.queue.stream import Position


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life. The client has received everything up to this position."""

    position: Position


@dataclass(frozen=True, slots=True)
class Reset:
    """The position from which the client resumed is void. Updates continue after this one."""

    position: Position


class _Step(NamedTuple):
    """Updates to send; the position after them; whether more can be read at once."""

    updates: Sequence[Update]
    position: Position
    more: bool


async def follow(
    tail: Tail, access: Access, start: Start, *, heartbeat: float
) -> AsyncIterator[Update | Heartbeat | Reset]:
    """Updates after the start, without an end. A heartbeat comes first, and then every `heartbeat` seconds.

    Before it comes a Reset where the client's own position is void.

    The heartbeat comes by the clock, also while updates flow: with each one the caller checks that the client may
    still listen. Raises psycopg.Error if the table has to be read and the database does not answer.
    """
    position = start.position
    if start.is_reset:
        yield Reset(position)
    yield Heartbeat(position)
    due = monotonic() + heartbeat
    while True:
        step = await _next(tail, access, position)
        for update in step.updates:
            yield update
            if monotonic() >= due:
                yield Heartbeat(update.position)
                due = monotonic() + heartbeat
        position = step.position
        if not step.more:
            await tail.wait(due - monotonic())
        if monotonic() >= due:
            yield Heartbeat(position)
            due = monotonic() + heartbeat


async def _next(tail: Tail, access: Access, position: Position) -> _Step:
    """From the table while the client is behind the ring, then from the ring."""
    floor = tail.floor
    if position < floor:
        page = await tail.reader.after(position, access)
        # Nothing is left in the table: the ring has whatever comes after the floor that was read before the table.
        return _Step(page.updates, page.end or floor, more=True)
    updates = tail.after(position)
    covered = [update for update in updates if access.covers(update.user_id, update.project_id)]
    return _Step(covered, updates[-1].position if updates else position, more=bool(updates))
