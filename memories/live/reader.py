"""Reads the outbox's stream from the table, for clients that are behind the tail.

A client may resume from a position of days ago. It reads through connections of its own, a bounded part of the table
in each statement, and only its own tenants' events leave the database. So it holds up nobody who is up to date.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

from memories.auth.access import Access
from memories.live.update import Update
from outbox.database.connection import own_connection
from outbox.queue.stream import (
    HORIZON,
    READ_MATCHING,
    Position,
    horizon,
    matching_parameters,
    recorded,
)

TYPES = ("vector.stored", "vector.deleted", "memory_log.expired")
# Statements that clients of one process run at the same time; each has a connection.
CONNECTIONS = 2
# Events that one statement looks at, of all tenants together.
SPAN = 2_000


class Page(NamedTuple):
    """Updates in order, and the position that was read up to. `end` is None when nothing is left to read."""

    updates: Sequence[Update]
    end: Position | None


class Start(NamedTuple):
    """The position where a client starts.

    `is_reset`: it resumed from a position of another server, or from before a restore. It starts at the end instead.
    """

    position: Position
    is_reset: bool


class Reader:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    async def newest(self) -> Position:
        """The end of the stream. Raises psycopg.Error."""
        return (await self.start(None)).position

    async def start(self, resumed: Position | None) -> "Start":
        """Where a client starts that resumes after `resumed`, or does not resume. Raises psycopg.Error."""
        [row] = await self._query(HORIZON)
        now = horizon(row)
        if resumed is None:
            return Start(now.position, is_reset=False)
        if now.is_comparable(resumed):
            return Start(resumed, is_reset=False)
        return Start(now.position, is_reset=True)

    async def after(self, position: Position, access: Access) -> Page:
        """The next updates after a position that `access` covers. Raises psycopg.Error."""
        parameters = matching_parameters(TYPES, position, SPAN, matching=access.named)
        rows = await self._query(READ_MATCHING, parameters)
        if not rows:
            return Page((), None)
        updates = [Update.of(recorded(row[:-1])) for row in rows if row[-1]]
        return Page(updates, Position(*rows[-1][:3]))

    async def close(self) -> None:
        """Close the connections that no statement uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(psycopg.Error):
                await connection.close()

    async def _query(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        async with self._slots:
            while self._idle:
                # It may have died while it was idle; then another one is tried.
                with suppress(psycopg.OperationalError):
                    return await self._run(self._idle.pop(), query, parameters)
            return await self._run(await connect(), query, parameters)

    async def _run(
        self, connection: psycopg.AsyncConnection[Any], query: str, parameters: Mapping[str, Any] | None
    ) -> list[Any]:
        try:
            rows = await (await connection.execute(query, parameters)).fetchall()
        except BaseException:  # also when the client leaves in the middle of the statement
            await connection.close()
            raise
        self._idle.append(connection)
        return rows


async def connect() -> psycopg.AsyncConnection[Any]:
    """A connection outside of Django, with Django's parameters."""
    # Django's prepare_threshold is among them: through a transaction-mode pooler no statement may stay prepared.
    return await psycopg.AsyncConnection.connect(**own_connection(), autocommit=True)
