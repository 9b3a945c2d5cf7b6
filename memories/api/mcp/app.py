"""The ASGI application of /mcp: it admits the caller, finds the tenant, and hands the request to the MCP server.

Stateless: each request stands alone, so that any of several web processes can answer it.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import httpx
from django.conf import settings
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from rest_framework.exceptions import APIException, PermissionDenied

from memories.api.authentication import CHALLENGE
from memories.api.live.admission import Sender, admit
from memories.api.mcp.caller import Caller
from memories.api.mcp.tools import server
from memories.api.problems import CONTENT_TYPE, problem_of
from memories.tenants import Tenant

App = Callable[..., Awaitable[None]]

# /mcp, or /mcp/{user_id}/{project_id}.
PATH = re.compile(r"/mcp(?:/([^/]+)/([^/]+))?/?")
# What goes on to the REST API with the caller's requests.
FORWARDED = ("authorization", "x-request-id", "traceparent", "host")


class MCPApp:
    """Wraps the application of the REST API, which the tools call."""

    def __init__(self, rest: App) -> None:
        self._rest = rest
        self._manager: StreamableHTTPSessionManager | None = None
        self._starting = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            caller = await self._caller(scope)
        except APIException as refusal:
            await _refuse(refusal, send)
            return
        manager = await self._started()
        await manager.handle_request({**scope, "semantix.caller": caller}, receive, send)

    async def _caller(self, scope: Any) -> Caller:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client") or ("", 0)
        sender = Sender(headers.get("authorization", ""), None, client[0])
        access = (await admit(sender, _named(scope))).access
        if access.user_id is None or access.project_id is None:
            raise PermissionDenied(
                "Whose memories? Connect to /mcp/{user_id}/{project_id}, or with an API key of one project."
            )
        transport = httpx.ASGITransport(self._rest, client=scope.get("client") or ("127.0.0.1", 0))
        forwarded = {name: headers[name] for name in FORWARDED if name in headers}
        return Caller(Tenant(access.user_id, access.project_id), forwarded, transport)

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


def _named(scope: Any) -> dict[str, str]:
    """The tenant in the address, as far as there is one."""
    found = PATH.fullmatch(scope.get("raw_path", scope["path"].encode()).decode("latin-1"))
    parts = [unquote(part) for part in found.groups() if part] if found else []
    return dict(zip(("user_id", "project_id"), parts, strict=False))


async def _refuse(refusal: APIException, send: Any) -> None:
    headers = [(b"content-type", CONTENT_TYPE.encode())]
    if refusal.status_code == 401:
        headers.append((b"www-authenticate", CHALLENGE.encode()))
    if wait := getattr(refusal, "wait", None):
        headers.append((b"retry-after", b"%d" % wait))
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem_of(refusal)).encode()})
