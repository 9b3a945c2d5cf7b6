"""`Prefer: wait=10` (RFC 7240): the answer to a write is held until search finds what was written.

For scripts and tests that read what they wrote; it changes nothing of what is stored. Answers are held on the event
loop, so that none of the threads that serve requests waits with them, and one query looks for all of them.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Any

from django.db import DatabaseError
from rest_framework.renderers import JSONRenderer

from memories.api import limits
from memories.api.serializers.memory_output import serialize_sync
from memories.records import queries
from memories.records.sync_status import SyncStatus

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[..., Awaitable[None]]
Progress = Mapping[int, dict[str, Any]]

WRITES = {"POST", "PUT", "PATCH"}
_PATH = re.compile(r"/memory-logs(/batch|/\d+)?")
_WAIT = re.compile(rb'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)
ENDS = {SyncStatus.INDEXED, SyncStatus.FAILED}
# Seconds between two looks at a memory: most are indexed within a tenth of a second, the others take long.
FIRST_PAUSE, PAUSE_GROWS, LONGEST_PAUSE = 0.01, 1.5, 0.25
# Looks that are asked for within this time are one.
GATHER_SECONDS = 0.005


class PreferWait:
    """Around an application of threads; looks are made on its `executor`, whose threads keep their connections."""

    def __init__(self, app: App, executor: Executor) -> None:
        self._app = app
        self._lookout = Lookout(executor)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        seconds = preferred_seconds(scope)
        if not seconds:
            await self._app(scope, receive, send)
            return
        answer = Answer()
        await self._app(scope, receive, answer.take)
        if answer.is_of_a_write():
            await self._hold(answer, seconds)
        await answer.give(send)

    async def _hold(self, answer: "Answer", seconds: int) -> None:
        body = json.loads(answer.body)
        ids = body["ids"] if "ids" in body else [body["id"]]
        progress = await self._lookout.watch(ids, seconds)
        if "sync" in body:
            body["sync"] = progress.get(body["id"], body["sync"])
        answer.change(JSONRenderer().render(body), (b"preference-applied", b"wait=%d" % seconds))


class Lookout:
    """Looks for all that are waiting at once."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._wanted: set[int] = set()
        self._next: asyncio.Task[Progress] | None = None

    async def watch(self, ids: Collection[int], seconds: float) -> Progress:
        """How far these memories have come when nothing more happens to them by itself, or the time is over."""
        end = asyncio.get_running_loop().time() + seconds
        pause = FIRST_PAUSE
        while True:
            progress = await self._look(ids)
            if all(found["status"] in ENDS for found in progress.values()):
                return progress
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return progress
            await asyncio.sleep(min(pause, left))
            pause = min(pause * PAUSE_GROWS, LONGEST_PAUSE)

    async def _look(self, ids: Collection[int]) -> Progress:
        self._wanted.update(ids)
        if self._next is None:
            self._next = asyncio.create_task(self._gather_and_look())
        found = await asyncio.shield(self._next)
        return {memory_id: found[memory_id] for memory_id in ids if memory_id in found}

    async def _gather_and_look(self) -> Progress:
        await asyncio.sleep(GATHER_SECONDS)
        wanted, self._wanted, self._next = self._wanted, set(), None
        return await asyncio.get_running_loop().run_in_executor(self._executor, progress_of, wanted)


class Answer:
    """A response on its way out, held back."""

    def __init__(self) -> None:
        self.body = b""
        self._start: Message = {}

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self.body += message.get("body", b"")

    def is_of_a_write(self) -> bool:
        """Memories were stored or changed, and are told as JSON."""
        headers = {name.lower(): value for name, value in self._start["headers"]}
        return self._start["status"] in (200, 201) and headers.get(b"content-type") == b"application/json"

    def change(self, body: bytes, header: tuple[bytes, bytes]) -> None:
        kept = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
        self._start["headers"] = [*kept, (b"content-length", b"%d" % len(body)), header]
        self.body = body

    async def give(self, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": self.body})


def preferred_seconds(scope: Any) -> int:
    """How long the answer to this request is to be held; 0: not at all."""
    if scope["method"] not in WRITES or not _PATH.fullmatch(scope["path"]):
        return 0
    for name, value in scope["headers"]:
        if name == b"prefer" and (found := _WAIT.search(value)):
            return min(int(found[1]), limits.WAIT_SECONDS)
    return 0


def progress_of(ids: Collection[int]) -> Progress:
    """`sync` of each of these memories; what is there no longer, and all while PostgreSQL is away, is left out."""
    try:
        return {row.id: serialize_sync(row) for row in queries.memories().filter(id__in=ids)}
    except DatabaseError:
        return {}
