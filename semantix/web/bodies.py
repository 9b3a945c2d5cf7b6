"""Read request bodies within limits, before the application runs.

Nobody without a credential makes the service read more than a form: a missing or malformed API key is refused before
the body is read, and for a body beyond UNVERIFIED_BYTES the key or session is looked up first. A body must keep
arriving, and all bodies together have a limit, so that slow or many clients cannot fill the memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from rest_framework.exceptions import APIException

from memories.api.errors import RequestTimeout, TooLarge
from memories.api.problems import translated
from semantix.web import credentials
from semantix.web.body_memory import Account, BodyMemory
from semantix.web.refusals import Message, Receive, Send, refuse

App = Callable[[Any, Receive, Send], Awaitable[None]]

# What a client may send before its key or session has been looked up: enough for most memories and every login form.
UNVERIFIED_BYTES = 64 * 1024
# After the first WEB_BODY_SECONDS a body must have arrived at least this fast.
BYTES_PER_SECOND = 8 * 1024


class Disconnected(Exception):
    """The client closed the connection before its body was complete."""


class BoundedBodies:
    """An ASGI application around `app`, which receives each body in one message. `executor` looks up credentials."""

    def __init__(self, app: App, executor: Executor) -> None:
        self._app = app
        self._executor = executor
        self._memory = BodyMemory()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if _length(scope) == 0:
            await self._app(scope, receive, send)
            return
        with self._memory.account(credentials.client_of(scope)) as account:
            try:
                body = await self._read(scope, receive, account)
            except Disconnected:
                return
            except APIException as error:
                await refuse(scope, receive, send, error)
                return
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Any, receive: Receive, account: Account) -> bytes:
        """The whole body. Raises APIException with the reason to refuse it, or Disconnected."""
        first = asyncio.get_running_loop().time() + settings.WEB_BODY_SECONDS
        try:
            async with asyncio.timeout_at(first) as deadline:
                await self._check(scope)
                body, more = bytearray(), True
                while more:
                    message = await receive()
                    body += _piece(message)
                    more = message.get("more_body", False)
                    await self._check_size(scope, account, len(body))
                    deadline.reschedule(first + len(body) / BYTES_PER_SECOND)
        except TimeoutError:
            raise RequestTimeout from None
        return bytes(body)

    async def _check(self, scope: Any) -> None:
        """Refuse what the head alone shows to be wrong."""
        length = _length(scope) or 0
        if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        credentials.require(scope)
        if length > UNVERIFIED_BYTES:
            await self._verify(scope)

    async def _check_size(self, scope: Any, account: Account, size: int) -> None:
        """Refuse a body that has become too large. Needed for chunked bodies, whose length is not in the head."""
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        if account.size <= UNVERIFIED_BYTES < size and _length(scope) is None:
            await self._verify(scope)
        account.add(size - account.size)

    async def _verify(self, scope: Any) -> None:
        """Raises NotAuthenticated for an unknown key or session, ServiceUnavailable while PostgreSQL is away."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, credentials.verify, scope)
        except (DatabaseError, InterfaceError) as error:
            raise translated(error) from error


def _length(scope: Any) -> int | None:
    """The length of the body that the head announces: 0 without a body, None for a chunked body."""
    length = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length


def _piece(message: Mapping[str, Any]) -> bytes:
    if message["type"] == "http.disconnect":
        raise Disconnected
    return bytes(message.get("body", b""))


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body once, and then what the server sends (that the client has gone)."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Mapping[str, Any]:
        return messages.pop() if messages else await receive()

    return replayed
