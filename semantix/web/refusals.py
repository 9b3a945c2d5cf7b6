"""Answers that ASGI code gives itself, before Django sees the request."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rest_framework.exceptions import APIException

from memories.api.problems import CONTENT_TYPE, problem_of
from semantix.observability.metrics.metrics import http_requests
from semantix.observability.metrics.middleware import known_method

logger = logging.getLogger("semantix.request")

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Message], Awaitable[None]]

ROUTE = "(refused)"
# Seconds for a client to finish sending a refused body. Ordinary clients read the answer only after that.
DRAIN_SECONDS = 5.0


async def refuse(scope: Any, receive: Receive, send: Send, error: APIException) -> None:
    """Answer with the problem document of `error`, discard the rest of the body for a bounded time, then close.

    Closing at once would reset the connection of a client that is still sending, and lose the answer.
    """
    document = problem_of(error)
    _record(scope, document["status"])
    body = json.dumps(document).encode()
    await send(
        {"type": "http.response.start", "status": document["status"], "headers": _headers(error, body)}
    )
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if not any(
        name == b"expect" for name, _ in scope["headers"]
    ):  # such a client sends no body after a refusal
        await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


def _headers(error: APIException, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if wait := getattr(error, "wait", None):
        headers.append((b"retry-after", b"%d" % wait))
    if challenge := getattr(error, "auth_header", None):
        headers.append((b"www-authenticate", challenge.encode()))
    return headers


def _record(scope: Any, status: int) -> None:
    """Log and count the request as the middleware does. No view was chosen, so it has no route."""
    logger.info("%s %s %d", scope["method"], ROUTE, status)
    http_requests.labels(known_method(scope["method"]), ROUTE, str(status)).inc()


async def _drain(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
