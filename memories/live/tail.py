"""The newest updates, read once for all clients of a process.

A ring of bounded size holds them. A client holds only its position: if it is up to date it reads the ring, and if it
is behind it reads the table (memories.live.reader). Memory stays flat, however many clients there are.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Self

import psycopg

from memories.live.reader import TYPES, Reader, connect
from memories.live.update import Update
from outbox.database.channels import RECORDED
from outbox.queue.stream import READ, Position, read_parameters, recorded

logger = logging.getLogger(__name__)

PAGE = 500
RING = 10_000
# How often the table is read when no NOTIFY arrives.
POLL_SECONDS = 1.0
# How often it is read after a NOTIFY whose event is not visible yet, because an older transaction is open.
SHORT_POLL_SECONDS = 0.05
# How long the connections stay open without clients.
LINGER_SECONDS = 30.0


class Tail:
    """Follows the stream while there are clients. Belongs to one event loop.

    A client enters it with `async with`. Entering raises psycopg.Error when the database does not answer.
    """

    def __init__(self) -> None:
        self.reader = Reader()
        self._ring: list[Update] = []
        self._floor = Position(0, 0)
        self._changed = asyncio.Event()
        self._clients = 0
        self._left_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._clients += 1
        try:
            async with self._starting:
                if self._task is None or self._task.done():
                    self._floor = await self.reader.newest()
                    self._task = asyncio.create_task(self._follow())
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    @property
    def floor(self) -> Position:
        """The ring has every update after this position. An update before it is in the table only."""
        return self._floor

    def after(self, position: Position) -> Sequence[Update]:
        """The next updates after a position that is not below the floor, at most PAGE. Empty if there are none yet."""
        start = bisect_right(self._ring, position, key=_position)
        return self._ring[start : start + PAGE]

    async def wait(self, seconds: float) -> None:
        """Wait for an update, but at most so long. Call it right after an empty `after()`, without awaiting."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def _leave(self) -> None:
        self._clients -= 1
        self._left_at = monotonic()

    def _is_wanted(self) -> bool:
        return self._clients > 0 or monotonic() - self._left_at < LINGER_SECONDS

    async def _follow(self) -> None:
        """Fill the ring while there are clients. If the database is away, wait for it."""
        while self._is_wanted():
            try:
                await self._listen()
            except psycopg.Error as error:
                logger.warning("Live updates wait for PostgreSQL: %s", error)
                await asyncio.sleep(POLL_SECONDS)
        # No await since the last look at the clients: a client that comes now starts another task.
        self._ring.clear()
        self._task = None
        await self.reader.close()

    async def _listen(self) -> None:
        async with await connect() as listening, await connect() as reading:
            await listening.execute(f"LISTEN {RECORDED}")
            while self._is_wanted():
                await self._take_all(reading)
                await self._hear(listening, reading)

    async def _hear(
        self, listening: psycopg.AsyncConnection[Any], reading: psycopg.AsyncConnection[Any]
    ) -> None:
        """Wait for a NOTIFY, and after one until its event is visible."""
        async for _ in listening.notifies(timeout=POLL_SECONDS, stop_after=1):
            for _ in range(int(POLL_SECONDS / SHORT_POLL_SECONDS)):
                if await self._take_all(reading):
                    return
                await asyncio.sleep(SHORT_POLL_SECONDS)

    async def _take_all(self, reading: psycopg.AsyncConnection[Any]) -> bool:
        """Append the new updates to the ring and wake the clients. Returns whether there were any."""
        found = False
        while page := await self._read(reading):
            found = True
            self._ring.extend(page)
            self._trim()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        return found

    async def _read(self, reading: psycopg.AsyncConnection[Any]) -> list[Update]:
        last = self._ring[-1].position if self._ring else self._floor
        cursor = await reading.execute(READ, read_parameters(TYPES, last, PAGE))
        return [Update.of(recorded(row)) for row in await cursor.fetchall()]

    def _trim(self) -> None:
        # Half of the ring at once: moving the rest costs time, and so happens rarely.
        if len(self._ring) > RING:
            half = RING // 2
            self._floor = self._ring[half - 1].position
            self._ring = self._ring[half:]


def _position(update: Update) -> Position:
    return update.position


_tails: dict[asyncio.AbstractEventLoop, Tail] = {}


def tail() -> Tail:
    """The tail of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _tails:
        _tails.clear()
        _tails[loop] = Tail()
    return _tails[loop]
