"""uvicorn's HTTP protocol with limits on request heads, silent clients and the number of connections.

uvicorn with httptools limits none of them: one client could hold the event loop for seconds with a header of megabytes
(the parser joins its pieces in quadratic time), and connections that send nothing stayed open for ever.
"""

import json
import socket
from asyncio import Transport
from asyncio.events import TimerHandle
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The addresses of live streams.
STREAMS = {"/memory-logs/events"}
HEAD_BYTES = 64 * 1024
HEADERS = 100
# Seconds for a refused client to read its answer before the connection is cut.
LINGER_SECONDS = 2.0
# Seconds until the kernel gives up a client that acknowledges nothing, or never reads its answer.
SILENT_SECONDS = 30


class Refused(Exception):
    """Raised in a callback of the parser: the answer is already chosen."""


class Protocol(HttpToolsProtocol):
    """One connection. It waits for a head, then the application runs until its response is complete."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusal = BAD_REQUEST
        self._is_refused = False
        # Bytes received since the parser last completed a head or a piece of a body.
        self._unparsed = 0
        self._head_size = 0
        self._in_head = True
        self._head_timer: TimerHandle | None = None
        # When the wait for a request began, in the loop's time.
        self.waiting_since = self.loop.time()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered or sent."""
        return self._in_head and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        _notice_silence(transport.get_extra_info("socket"))
        self._expect_head()
        if len(self.connections) > settings.WEB_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._in_head and self._head_timer is None:
            self._expect_head()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)

    def shutdown(self) -> None:
        """Called when the server begins to stop. A live stream would never end by itself, so it ends now.

        Its client goes on at another process, or at this one after its restart, and misses nothing.
        """
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete and self.scope["path"] in STREAMS:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called for trailers as well, which go into the same list."""
        if len(self.headers) >= HEADERS:
            self._raise(HEAD_TOO_LARGE)
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._unparsed = False, 0
        self._cancel_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._unparsed = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn where the parser fails, also because a callback raised Refused."""
        self._refuse(self._refusal)

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_BYTES:
            self._raise(HEAD_TOO_LARGE)

    def _raise(self, refusal: bytes) -> None:
        self._refusal = refusal
        raise Refused

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(settings.WEB_HEAD_SECONDS, self._head_is_late)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        """Close the connection, unless it is the next head that is late while a request is still being answered."""
        if self.is_waiting:
            self._refuse(HEAD_LATE)
        else:
            self._expect_head()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request; without one, refuse this one."""
        others = [each for each in self.connections if isinstance(each, Protocol) and each is not self]
        waiting = [each for each in others if each.is_waiting and not each.transport.is_closing()]
        if waiting:
            min(waiting, key=lambda each: each.waiting_since).transport.abort()
        else:
            self._refuse(TOO_MANY_CONNECTIONS)

    def _refuse(self, answer: bytes) -> None:
        """Send the answer and the end of the stream, then discard what still arrives.

        Closing at once would reset the connection of a client that is still sending, and lose the answer.
        """
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._cancel_head_timer()
        self.transport.write(answer)
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _notice_silence(connection: Any) -> None:
    """Have the kernel end a connection whose client has vanished or never reads."""
    with suppress(OSError, AttributeError):  # a Unix socket, or a system without these options
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)


def _answer(status: int, code: str, detail: str) -> bytes:
    """A whole response with a problem document."""
    title = HTTPStatus(status).phrase
    problem = {"type": f"urn:semantix:problem:{code}", "title": title, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    retry = "retry-after: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n{retry}"
        f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


BAD_REQUEST = _answer(400, "bad-request", "The request is not valid HTTP.")
HEAD_LATE = _answer(408, "request-timeout", "The head of the request did not arrive in time.")
HEAD_TOO_LARGE = _answer(
    431, "head-too-large", f"A request may have {HEADERS} headers, and its head {HEAD_BYTES // 1024} KiB."
)
TOO_MANY_CONNECTIONS = _answer(
    503, "too-many-connections", "The service has no free connection. Try again later."
)
