"""One reader of the outbox's stream a process, shared by all its clients.

It keeps the newest events in a ring of bounded size. Clients hold nothing but their position: one that keeps up
reads the ring, one that fell behind it reads the table, and memory stays flat however many there are.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Self

import psycopg

from memories.live.update import Update
from outbox.database.channels import RECORDED
from outbox.database.connection import own_connection
from outbox.queue.stream import HORIZON, READ, Position, horizon, read_parameters, recorded

logger = logging.getLogger(__name__)

TYPES = ("vector.stored", "vector.deleted", "memory_log.expired")
PAGE = 500
RING = 10_000
# Between two looks at the table when nobody says anything.
POLL_SECONDS = 1.0
# After a NOTIFY whose event is not readable yet: an older transaction is still open.
SHORT_POLL_SECONDS = 0.05
# Without clients the connection is given back.
LINGER_SECONDS = 30.0


class Tail:
    """Follows the stream while there are clients. Belongs to one event loop."""

    def __init__(self) -> None:
        self._ring: list[Update] = []
        self._floor: Position | None = None
        self._changed = asyncio.Event()
        self._clients = 0
        self._task: asyncio.Task[None] | None = None
        self._reader: psycopg.AsyncConnection[Any] | None = None
        self._reading = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """A client comes. Raises psycopg.Error when the database does not answer."""
        self._clients += 1
        try:
            if self._floor is None:
                self._floor = await self.newest()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._follow())
        except BaseException:
            self._clients -= 1
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._clients -= 1

    async def newest(self) -> Position:
        """Where a client starts that asks for nothing older."""
        rows = await self._query(HORIZON)
        return horizon(rows[0])

    async def after(self, position: Position) -> Sequence[Update]:
        """The next updates after a position, at most PAGE; none when there are none yet."""
        floor = self._floor
        if floor is None or position < floor:
            page = await self._read(position)
            if page or floor is None:
                return page
            position = floor  # nothing lies between
        start = bisect_right(self._ring, position, key=_position)
        return self._ring[start : start + PAGE]

    async def wait(self, seconds: float) -> bool:
        """Until something came (True), or that long. Call it right after an empty `after()`, without awaiting."""
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        """Runs while there are clients; a database that is away is waited for."""
        idle = 0.0
        while idle < LINGER_SECONDS:
            try:
                async with await self._connect() as listening:
                    await listening.execute(f"LISTEN {RECORDED}")
                    while idle < LINGER_SECONDS:
                        idle = 0.0 if self._clients else idle + POLL_SECONDS
                        await self._take_all()
                        await self._hear(listening)
            except psycopg.Error as error:
                logger.warning("Live updates wait for PostgreSQL: %s", error)
                await asyncio.sleep(POLL_SECONDS)
        self._ring.clear()
        self._floor = None

    async def _hear(self, listening: psycopg.AsyncConnection[Any]) -> None:
        """Wait for a NOTIFY; after one, look until its event can be read."""
        async for _ in listening.notifies(timeout=POLL_SECONDS, stop_after=1):
            for _ in range(int(POLL_SECONDS / SHORT_POLL_SECONDS)):
                if await self._take_all():
                    return
                await asyncio.sleep(SHORT_POLL_SECONDS)

    async def _take_all(self) -> bool:
        """Append what is new to the ring and wake the clients; returns whether there was something."""
        came = False
        while True:
            last = self._ring[-1].position if self._ring else self._floor
            assert last is not None
            page = await self._read(last)
            if not page:
                return came
            came = True
            self._ring.extend(page)
            self._trim()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def _trim(self) -> None:
        # Half at once, so that the cost of moving the rest is paid rarely.
        if len(self._ring) > RING:
            half = RING // 2
            self._floor = self._ring[half - 1].position
            self._ring = self._ring[half:]

    async def _read(self, after: Position) -> list[Update]:
        rows = await self._query(READ, read_parameters(TYPES, after, PAGE))
        return [Update.of(recorded(row)) for row in rows]

    async def _query(self, query: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        """One connection for the tail and for the clients that catch up: they take turns."""
        async with self._reading:
            if self._reader is None or self._reader.closed:
                self._reader = await self._connect()
            try:
                cursor = await self._reader.execute(query, parameters)
                return await cursor.fetchall()
            except psycopg.Error:
                await self._reader.close()
                raise

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        # With Django's prepare_threshold: through a transaction-mode pooler nothing may stay prepared.
        return await psycopg.AsyncConnection.connect(**own_connection(), autocommit=True)


def _position(update: Update) -> Position:
    return update.position


_tails: dict[asyncio.AbstractEventLoop, Tail] = {}


def tail() -> Tail:
    """The running event loop's tail."""
    loop = asyncio.get_running_loop()
    if loop not in _tails:
        _tails.clear()
        _tails[loop] = Tail()
    return _tails[loop]
