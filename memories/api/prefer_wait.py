"""`Prefer: wait=10` (RFC 7240): hold the answer to a write until search finds the memory.

It is for scripts and tests that search for what they just wrote, and it changes nothing about the write. Answers wait
on the event loop, so they hold no request thread, and one query checks all waiting memories.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Any

from django.db import DatabaseError, InterfaceError
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
_PATH = re.compile(r"/memory-logs(/batch|/\d+|/external/.+)?")
_WAIT = re.compile(rb'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)
ENDS = {SyncStatus.INDEXED, SyncStatus.FAILED}
# Seconds between two checks of a memory. Most are indexed within a tenth of a second; the others take long.
FIRST_PAUSE, PAUSE_GROWS, LONGEST_PAUSE = 0.01, 1.5, 0.25
# Checks requested within this time share one query.
COLLECT_SECONDS = 0.005


class PreferWait:
    """Wraps the threaded application. Checks run on its `executor`, whose threads have database connections."""

    def __init__(self, app: App, executor: Executor) -> None:
        self._app = app
        self._watcher = SyncWatcher(executor)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        seconds = preferred_seconds(scope)
        if not seconds:
            await self._app(scope, receive, send)
            return
        answer = Answer()
        await self._app(scope, receive, answer.receive)
        if answer.is_of_a_write():
            await self._hold(answer, seconds)
        await answer.send_to(send)

    async def _hold(self, answer: "Answer", seconds: int) -> None:
        body = json.loads(answer.body)
        ids = body["ids"] if "ids" in body else [body["id"]]
        progress = await self._watcher.wait(ids, seconds)
        if "sync" in body:
            body["sync"] = progress.get(body["id"], body["sync"])
        answer.change(JSONRenderer().render(body), (b"preference-applied", b"wait=%d" % seconds))


class SyncWatcher:
    """Polls the sync status of all memories that requests wait for, with one query at a time."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._wanted: set[int] = set()
        self._next: asyncio.Task[Progress] | None = None

    async def wait(self, ids: Collection[int], seconds: float) -> Progress:
        """The sync status of these memories once all are indexed or failed, or after `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        pause = FIRST_PAUSE
        while True:
            progress = await self._check(ids)
            if all(found["status"] in ENDS for found in progress.values()):
                return progress
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return progress
            await asyncio.sleep(min(pause, left))
            pause = min(pause * PAUSE_GROWS, LONGEST_PAUSE)

    async def _check(self, ids: Collection[int]) -> Progress:
        self._wanted.update(ids)
        if self._next is None:
            self._next = asyncio.create_task(self._collect_and_check())
        found = await asyncio.shield(self._next)
        return {memory_id: found[memory_id] for memory_id in ids if memory_id in found}

    async def _collect_and_check(self) -> Progress:
        await asyncio.sleep(COLLECT_SECONDS)
        wanted, self._wanted, self._next = self._wanted, set(), None
        return await asyncio.get_running_loop().run_in_executor(self._executor, progress_of, wanted)


class Answer:
    """A response that is held back."""

    def __init__(self) -> None:
        self.body = b""
        self._start: Message = {}

    async def receive(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self.body += message.get("body", b"")

    def is_of_a_write(self) -> bool:
        """Whether it is the JSON answer to a write of memories that succeeded."""
        headers = {name.lower(): value for name, value in self._start["headers"]}
        return self._start["status"] in (200, 201) and headers.get(b"content-type") == b"application/json"

    def change(self, body: bytes, header: tuple[bytes, bytes]) -> None:
        kept = [pair for pair in self._start["headers"] if pair[0].lower() != b"content-length"]
        self._start["headers"] = [*kept, (b"content-length", b"%d" % len(body)), header]
        self.body = body

    async def send_to(self, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": self.body})


def preferred_seconds(scope: Any) -> int:
    """The seconds to hold the answer to this request; 0 for none."""
    if scope["method"] not in WRITES or not _PATH.fullmatch(scope["path"]):
        return 0
    for name, value in scope["headers"]:
        if name == b"prefer" and (found := _WAIT.search(value)):
            return min(int(found[1]), limits.WAIT_SECONDS)
    return 0


def progress_of(ids: Collection[int]) -> Progress:
    """`sync` of these memories by id, without deleted ones. It is empty while PostgreSQL does not answer."""
    try:
        return {row.id: serialize_sync(row) for row in queries.memories().filter(id__in=ids)}
    except (DatabaseError, InterfaceError):
        return {}
