"""The ASGI application of /mcp: it admits the caller and hands the request to the MCP server.

Stateless: each request stands alone, so that any of several web processes can answer it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import INVALID_REQUEST
from rest_framework.exceptions import APIException

from memories.api.authentication import CHALLENGE
from memories.api.mcp import resources, tools  # noqa: F401 - they register what the server offers
from memories.api.mcp.admission import caller_of
from memories.api.mcp.server import CALLER, server
from memories.api.problems import problem_of

App = Callable[..., Awaitable[None]]


class MCPApp:
    """Wraps the application of the REST API, which the tools call."""

    def __init__(self, rest: App) -> None:
        self._rest = rest
        self._manager: StreamableHTTPSessionManager | None = None
        self._starting = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            caller = await caller_of(scope, self._rest)
        except APIException as refusal:
            await _refuse(refusal, send)
            return
        manager = await self._started()
        await manager.handle_request({**scope, CALLER: caller}, receive, send)

    async def _started(self) -> StreamableHTTPSessionManager:
        """The SDK's manager of requests. It runs in a task of its own, as long as the process."""
        async with self._starting:
            if self._manager is None:
                manager = StreamableHTTPSessionManager(
                    app=server._lowlevel_server,  # noqa: SLF001 - the SDK's own way makes a whole Starlette application
                    json_response=True,
                    stateless=True,
                    max_request_body_size=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
                )
                await _run(manager)
                self._manager = manager
        return self._manager


async def _run(manager: StreamableHTTPSessionManager) -> None:
    running = asyncio.Event()

    async def run() -> None:
        async with manager.run():
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    _tasks.add(task)  # the loop itself keeps only a weak reference
    await running.wait()


_tasks: set[asyncio.Task[None]] = set()


async def _refuse(refusal: APIException, send: Any) -> None:
    """Answer with the status, and with the problem in an error of JSON-RPC: clients show its message."""
    headers = [(b"content-type", b"application/json")]
    if refusal.status_code == 401:
        headers.append((b"www-authenticate", CHALLENGE.encode()))
    if refusal.status_code == 405:
        headers.append((b"allow", b"POST"))
    if wait := getattr(refusal, "wait", None):
        headers.append((b"retry-after", b"%d" % wait))
    problem = problem_of(refusal)
    error = {"code": INVALID_REQUEST, "message": problem["detail"], "data": problem}
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
