"""The ASGI application: one port for requests, server-sent events and WebSockets.

Django's views run on threads. Streams (server-sent events, WebSockets) run on the event loop and occupy no thread, and
so does /health/live, which answers also while all threads are busy.
"""

import os
import signal
from functools import cache
from multiprocessing import parent_process
from typing import Any

from channels.routing import URLRouter
from channels.sessions import CookieMiddleware
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from outbox.cluster.parent_death import end_with_parent
from semantix.database.lost_clients import end_lost_clients
from semantix.database.statement_timeout import limit_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "semantix.settings")
if parent_process():
    # One of WEB_WORKERS. Without the process that started it nobody would stop it, and it would keep the port.
    end_with_parent(signal.SIGTERM)
event_loop = get_asgi_application()
limit_statements(settings.DATABASE_STATEMENT_SECONDS)
end_lost_clients()

# These imports need the apps to be loaded.
from memories.api.live.socket import LiveUpdates  # noqa: E402
from memories.api.prefer_wait import PreferWait  # noqa: E402
from semantix.web.bodies import BoundedBodies  # noqa: E402
from semantix.web.live import answer_live  # noqa: E402
from semantix.web.protocol import STREAMS  # noqa: E402
from semantix.web.startup import require_secret_key  # noqa: E402
from semantix.web.threads import ThreadedHandler  # noqa: E402

require_secret_key()
threads = ThreadedHandler(settings.WEB_THREADS)
views = PreferWait(threads, threads.executor)

sockets = CookieMiddleware(URLRouter([path("ws/memory-logs/events", LiveUpdates.as_asgi())]))

LIVE = {("GET", "/health/live"), ("HEAD", "/health/live")}


@cache
def mcp() -> Any:
    """The MCP server. It is imported at its first request: its SDK costs half a second and 20 MB."""
    from memories.api.mcp.app import MCPApp

    return MCPApp(views)


def chosen(path: str) -> Any:
    """The application that answers this address."""
    if path == "/mcp" or path.startswith("/mcp/"):
        return mcp()
    return event_loop if path in STREAMS else views


async def respond(scope: Any, receive: Any, send: Any) -> None:
    """Answer an HTTP request whose body has been read."""
    await chosen(scope["path"])(scope, receive, send)


requests = BoundedBodies(respond, threads.executor)


async def dispatch(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await sockets(scope, receive, send)
    elif (scope["method"], scope["path"]) in LIVE:
        await answer_live(send)
    else:
        await requests(scope, receive, send)


# The client's address and scheme come from X-Forwarded-For and X-Forwarded-Proto only where a trusted proxy sets them.
proxies = settings.FORWARDED_ALLOW_IPS
application: Any = ProxyHeadersMiddleware(dispatch, proxies) if proxies else dispatch
