"""Run Django's views on threads that live as long as the server.

The threads keep their database connections between requests. Django's own ASGI handler creates a thread and a
connection for each request. The whole request goes to the thread and the whole response comes back: a thread that
sends each piece separately waits for the event loop each time, half of its time when the processor is busy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from semantix.web.deadline import Deadline
from semantix.web.executor import LatestFirst

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Message], Awaitable[None]]


class ThreadedHandler(ASGIHandler):
    """An ASGI application that collects each response before it sends it. Streams run on the event loop instead."""

    def __init__(self, threads: int) -> None:
        BaseHandler.__init__(self)
        self.load_middleware()
        self.executor = LatestFirst(threads, "web")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        if body is not None:
            for message in await self._answer_within_time(scope, body):
                await send(message)

    async def _answer_within_time(self, scope: Any, body: IO[bytes]) -> tuple[Message, Message]:
        loop, deadline = asyncio.get_running_loop(), Deadline()
        timer = loop.call_later(settings.DATABASE_WAIT_SECONDS, deadline.hang_up)
        try:
            return await loop.run_in_executor(self.executor, self._answer, scope, body, deadline)
        finally:
            timer.cancel()

    def _answer(self, scope: Any, body: IO[bytes], deadline: Deadline) -> tuple[Message, Message]:
        with deadline:
            set_script_prefix(get_script_prefix(scope))
            request_started.send(sender=self.__class__, scope=scope)
            response = self._response(scope, body)
            try:
                content = b"".join(response)
            finally:
                response.close()
        start = {"type": "http.response.start", "status": response.status_code, "headers": _headers(response)}
        return start, {"type": "http.response.body", "body": content}

    def _response(self, scope: Any, body: IO[bytes]) -> Any:
        length = body.tell()
        body.seek(0)
        request, refusal = self.create_request(scope, body)
        if request is None:
            return refusal
        # Django treats a body without Content-Length (Transfer-Encoding: chunked) as empty.
        request.META.setdefault("CONTENT_LENGTH", str(length))
        return self.get_response(request)


async def _whole(receive: Receive) -> IO[bytes] | None:
    """The body, read just beyond MAX_BODY_BYTES where it is larger (Django then answers 413).

    None if the client has gone.
    """
    body = SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115 - the request closes it
    more = True
    while more and body.tell() <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body.write(message.get("body", b""))
        more = message.get("more_body", False)
    return body


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    cookies = (("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values())
    return [(name.encode("ascii"), value.encode("latin1")) for name, value in (*response.items(), *cookies)]
