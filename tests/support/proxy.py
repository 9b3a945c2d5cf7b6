"""A proxy before Chroma, PostgreSQL or Redis, in front of which the network fails as a test wants it.

It forwards bytes and knows no protocol. It runs in a thread of its own.
"""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

# Bytes that are read at once.
PIECE = 16 * 1024
# A socket with this option (on, 0 seconds) sends a reset when it is closed.
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
WAIT_SECONDS = 30.0
# How soon a heal hastens what is slow.
TICK_SECONDS = 0.05


class Proxy:
    """Listens on a port of its own inside the `with`, which `url` names.

    `url`: the address of the server. `host`: the address to listen on. What a client has sent reaches the server even
    if the client gives up before.
    """

    def __init__(self, url: str, *, host: str = "127.0.0.1") -> None:
        self._server_url = url
        self._host = host
        self.port = 0
        self._latency, self._bytes_per_second = 0.0, float("inf")
        self._answers = True
        self._hastened_at = 0.0
        self._links: set[_Link] = set()
        self._listening: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return _with_address(self._server_url, self._host, self.port)

    @property
    def in_hand(self) -> int:
        """Connections with data that the server has not got yet, or has not answered."""
        return sum(link.is_in_hand for link in list(self._links))

    @property
    def unsent(self) -> int:
        """Bytes from clients that are on their way to the server."""
        return sum(link.unsent for link in list(self._links))

    @property
    def connections(self) -> int:
        return len(self._links)

    def delay(self, seconds: float) -> None:
        """Let everything arrive later by so much, in both directions."""
        self._latency = seconds

    def trickle(self, bytes_per_second: float) -> None:
        """Let everything that is sent from now on pass at this pace, in both directions."""
        self._bytes_per_second = bytes_per_second

    def silence(self) -> None:
        """Let nothing pass; connections stay open, and new ones are accepted: half-open to both sides."""
        self._call(self._passing.clear)

    def lose_answers(self) -> None:
        """Let the server get everything. Each connection is reset instead of the server's next answer."""
        self._answers = False

    def reset(self) -> None:
        """Reset all connections. New ones are accepted."""
        self._call(self._reset)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as if no server ran."""
        self._run(self._stop_listening())
        self._call(self._reset)

    def heal(self, *, hasten: bool = True) -> None:
        """Undo every fault. Connections that are open go on. `hasten`: also what is slow on its way arrives now."""
        if hasten:
            self._hastened_at = time.monotonic()
        self._latency, self._bytes_per_second, self._answers = 0.0, float("inf"), True
        self._run(self._listen())
        self._call(self._passing.set)

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(self, *_error: object) -> None:
        self._run(self._stop_listening())
        self._call(self._reset)
        self._run(self._wait_for_links())
        self._call(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()

    def due(self, length: int, before: float, before_sent_at: float) -> float:
        """When so many bytes arrive that are sent now. What was sent before them is due `before`."""
        now = time.monotonic()
        start = now if before_sent_at < self._hastened_at else max(now, before)
        return start + self._latency + length / self._bytes_per_second

    async def passed(self, sent_at: float, due: float) -> None:
        """Wait until what was sent at that time may pass. It is due at the other (time.monotonic())."""
        while self._hastened_at < sent_at and (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, TICK_SECONDS))
        await self._passing.wait()

    @property
    def answers_pass(self) -> bool:
        return self._answers

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, self._host, self.port, limit=PIECE)
            self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._server_url)
        finally:
            self._links.discard(link)

    def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _wait_for_links(self) -> None:
        while self._links:
            await asyncio.sleep(0.01)

    def _call(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)


class _Link:
    """A client's connection and ours to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_answered = True
        self.unsent = 0

    @property
    def is_in_hand(self) -> bool:
        return self.unsent > 0 or not self._is_answered

    async def run(self, server_url: str) -> None:
        try:
            await self._proxy.passed(0.0, 0.0)
            self._server = await _connect(server_url)
        except OSError:
            self.reset()
            return
        # What counts as sent has left this process: drain() waits for all of it.
        self._server[1].transport.set_write_buffer_limits(high=0)
        up = asyncio.create_task(self._to_server())
        down = asyncio.create_task(self._to_client())
        self._tasks = [up, down]
        with suppress(asyncio.CancelledError):
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            # The client has gone: the server still gets what it had sent, and answers it.
            while not down.done() and self.is_in_hand:
                await asyncio.sleep(0.01)
        self.reset() if not self._proxy.answers_pass else self._close()
        await asyncio.gather(up, down, return_exceptions=True)

    def reset(self) -> None:
        for _, writer in filter(None, (self._client, self._server)):
            with suppress(OSError):
                found = writer.get_extra_info("socket")
                if found is not None and found.family != socket.AF_UNIX:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._close()

    def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for _, writer in filter(None, (self._client, self._server)):
            if not writer.transport.is_closing():
                # Not close(), which would first send what waits.
                writer.transport.abort()

    async def _to_server(self) -> None:
        assert self._server
        await self._pump(self._client[0], self._server[1], self._begin, self._sent)

    async def _to_client(self) -> None:
        assert self._server
        await self._pump(self._server[0], self._client[1], self._answered, lambda length: None)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        read: Callable[[int], bool],
        sent: Callable[[int], object],
    ) -> None:
        """Read at once, so that a client that gives up has sent everything, and write what is due."""
        waiting: asyncio.Queue[tuple[float, float, bytes]] = asyncio.Queue()
        writing = asyncio.create_task(self._write(waiting, writer, sent))
        try:
            sent_at = due = 0.0
            with suppress(OSError):
                while data := await reader.read(PIECE):
                    if not read(len(data)):
                        break
                    due = self._proxy.due(len(data), due, sent_at)
                    sent_at = time.monotonic()
                    waiting.put_nowait((sent_at, due, data))
            # Also after a reset: what was read before it goes on.
            await waiting.join()
        finally:
            writing.cancel()

    async def _write(
        self,
        waiting: "asyncio.Queue[tuple[float, float, bytes]]",
        writer: asyncio.StreamWriter,
        sent: Callable[[int], object],
    ) -> None:
        while True:
            sent_at, due, data = await waiting.get()
            await self._proxy.passed(sent_at, due)
            with suppress(OSError):
                writer.write(data)
                await writer.drain()
            sent(len(data))
            waiting.task_done()

    def _begin(self, length: int) -> bool:
        self.unsent += length
        self._is_answered = False
        return True

    def _sent(self, length: int) -> None:
        self.unsent -= length

    def _answered(self, _length: int) -> bool:
        self._is_answered = True
        return self._proxy.answers_pass


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    folder = query.get("host", [""])[0]
    if folder.startswith("/"):
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{query['port'][0]}", limit=PIECE)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=PIECE)


def _with_address(url: str, host: str, port: int) -> str:
    parts = urlsplit(url)
    account = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{account}{host}:{port}", query=""))
