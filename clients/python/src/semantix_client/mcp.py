"""`semantix-mcp`: the Model Context Protocol over stdio, for clients that start a command.

    SEMANTIX_URL=http://127.0.0.1:8000 SEMANTIX_API_KEY=… semantix-mcp

It passes what it is asked on to /mcp of the service, so its tools are always those of the service. SEMANTIX_USER_ID
and SEMANTIX_PROJECT_ID name the tenant where the key opens several, or the service is open.
"""

import asyncio
import os
import sys
from typing import Any
from urllib.parse import quote

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.server.stdio import stdio_server

# Seconds: longer than a tool may wait until a memory is searchable.
TIMEOUT = 90.0
# Seconds between attempts to connect: a service that restarts is back in a few.
PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0)
# A code of JSON-RPC that is free for servers.
AWAY = -32001


def address() -> str:
    """The address of /mcp, from the environment. Exits with a message where it is not complete."""
    url = os.environ.get("SEMANTIX_URL", "").rstrip("/")
    user, project = os.environ.get("SEMANTIX_USER_ID"), os.environ.get("SEMANTIX_PROJECT_ID")
    if not url:
        sys.exit("Set SEMANTIX_URL to the address of the service, http://127.0.0.1:8000 for one.")
    if bool(user) != bool(project):
        sys.exit(
            "SEMANTIX_USER_ID and SEMANTIX_PROJECT_ID go together: set both, or none with a key of one project."
        )
    return f"{url}/mcp/{quote(user, safe='')}/{quote(project, safe='')}" if user and project else f"{url}/mcp"


class Http(httpx2.AsyncClient):
    """Answers in place of a service that does not. Without an answer the SDK would wait for ever."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response of the service, or an error of JSON-RPC that says what is wrong."""
        for pause in (*PAUSES, None):
            try:
                return await super().send(request, **options)
            except httpx2.ConnectError as error:  # noqa: PERF203 - nothing was sent, so it is sent again
                if pause is None:
                    return _away(request, f"does not answer ({error}). Is it running?")
                await asyncio.sleep(pause)
            except httpx2.TransportError as error:
                told = f"{type(error).__name__}: {error}".removesuffix(": ")
                return _away(
                    request, f"gave no answer ({told}). Look whether it was done before you repeat it."
                )
        raise AssertionError("the last attempt answers")


def _away(request: httpx2.Request, told: str) -> httpx2.Response:
    service = f"{request.url.scheme}://{request.url.netloc.decode()}"
    error = {"code": AWAY, "message": f"The Semantix service at {service} {told}"}
    return httpx2.Response(503, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)


def bridge(service: Client) -> Server:
    """A server that answers with what the service answers."""
    return Server(
        "semantix",
        instructions=service.instructions,
        on_list_tools=lambda _context, _params: service.list_tools(),
        on_call_tool=lambda _context, params: service.call_tool(params.name, params.arguments or {}),
        on_list_resources=lambda _context, _params: service.list_resources(),
        on_list_resource_templates=lambda _context, _params: service.list_resource_templates(),
        on_read_resource=lambda _context, params: service.read_resource(params.uri),
    )


async def serve(url: str) -> None:
    key = os.environ.get("SEMANTIX_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        Http(headers=headers, timeout=TIMEOUT) as http,
        Client(streamable_http_client(url, http_client=http)) as service,
        stdio_server() as (incoming, outgoing),
    ):
        server = bridge(service)
        await server.run(incoming, outgoing, server.create_initialization_options())


def main() -> None:
    """Run until the client closes standard input."""
    url = address()
    try:
        httpx2.get(url, timeout=10)
    except httpx2.TransportError as error:
        sys.exit(f"The service at {url} does not answer: {error}")
    try:
        asyncio.run(serve(url))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
