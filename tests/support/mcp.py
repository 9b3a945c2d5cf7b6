"""The SDK's own client of the Model Context Protocol, connected to a running service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}

# As a proxy that ends TLS says it. Only a service that trusts the sender (FORWARDED_ALLOW_IPS) believes it.
OVER_TLS = {"X-Forwarded-Proto": "https"}


@asynccontextmanager
async def connected(url: str, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = OVER_TLS | ({"Authorization": f"Bearer {key}"} if key else {})
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def calling(tool: str, **arguments: Any) -> dict[str, Any]:
    """The message that calls a tool."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def use(
    service: str,
    key: str | None,
    work: Callable[[Client], Awaitable[Any]],
    *,
    path: str = "/mcp",
    mode: str = "auto",
) -> Any:
    """What `work` returns; it gets a connected client."""

    async def run() -> Any:
        async with connected(service + path, key, mode) as client:
            return await work(client)

    return asyncio.run(run())


def call(service: str, key: str | None, tool: str, *, path: str = "/mcp", **arguments: Any) -> Any:
    """The structured answer of a tool; AssertionError with its text where it failed."""
    result = use(service, key, lambda client: client.call_tool(tool, arguments), path=path)
    assert not result.is_error, result.content[0].text
    return result.structured_content


def refused(service: str, key: str | None, tool: str, *, path: str = "/mcp", **arguments: Any) -> str:
    """The text with which a tool refuses."""
    result = use(service, key, lambda client: client.call_tool(tool, arguments), path=path)
    assert result.is_error
    return str(result.content[0].text)


def tools(service: str, key: str | None, *, path: str = "/mcp", mode: str = "auto") -> set[str]:
    """The names of the tools that are offered."""
    listed = use(service, key, lambda client: client.list_tools(), path=path, mode=mode)
    return {tool.name for tool in listed.tools}


def send(
    service: str, body: Any, *, path: str = "/mcp", method: str = "POST", **headers: str
) -> httpx.Response:
    """The answer to a message without any client's help. Underscores of header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    accept = OVER_TLS | {"Accept": "application/json, text/event-stream"}
    content = {"json": body} if not isinstance(body, bytes) else {"content": body}
    return httpx.request(method, service + path, headers=accept | named, timeout=60, verify=False, **content)
