"""Run Django's views on threads that live as long as the server.

The threads keep their database connections between requests. Django's own ASGI handler creates a thread and a
connection for each request. The whole request goes to the thread and the whole response comes back: a thread that
sends each piece separately waits for the event loop each time, half of its time when the processor is busy.
"""

import asyncio
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from semantix.web.deadline import Deadline
from semantix.web.executor import LatestFirst
from semantix.web.refusals import Message, Receive, Send


class ThreadedHandler(ASGIHandler):
    """An ASGI application that takes each body, and sends each response, as a whole.

    The body comes in one message (see bodies.py). Streams run on the event loop instead.
    """

    def __init__(self, threads: int) -> None:
        BaseHandler.__init__(self)
        self.load_middleware()
        self.executor = LatestFirst(threads, "web")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        message = await receive()
        if message["type"] == "http.request":
            for answer in await self._answer_within_time(scope, BytesIO(message.get("body", b""))):
                await send(answer)

    async def _answer_within_time(self, scope: Any, body: BytesIO) -> tuple[Message, Message]:
        loop, deadline = asyncio.get_running_loop(), Deadline()
        timer = loop.call_later(settings.DATABASE_WAIT_SECONDS, deadline.hang_up)
        try:
            return await loop.run_in_executor(self.executor, self._answer, scope, body, deadline)
        finally:
            timer.cancel()

    def _answer(self, scope: Any, body: BytesIO, deadline: Deadline) -> tuple[Message, Message]:
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

    def _response(self, scope: Any, body: BytesIO) -> Any:
        length = len(body.getbuffer())
        request, refusal = self.create_request(scope, body)
        if request is None:
            return refusal
        # Django treats a body without Content-Length (Transfer-Encoding: chunked) as empty.
        request.META.setdefault("CONTENT_LENGTH", str(length))
        return self.get_response(request)


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    cookies = (("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values())
    return [(name.encode("ascii"), value.encode("latin1")) for name, value in (*response.items(), *cookies)]
