"""The ASGI application: one port for requests, server-sent events and WebSockets.

Django's views run on threads. Streams (server-sent events, WebSockets) run on the event loop and occupy no thread.
"""

import os
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

from semantix.database.statement_timeout import limit_statements
from semantix.web.threads import ThreadedHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "semantix.settings")
event_loop = get_asgi_application()
limit_statements(settings.DATABASE_STATEMENT_SECONDS)
threads = ThreadedHandler(settings.WEB_THREADS)

# These imports need the apps to be loaded.
from memories.api.live.socket import LiveUpdates  # noqa: E402
from memories.api.prefer_wait import PreferWait  # noqa: E402

answers = PreferWait(threads, threads.executor)

programs = AuthMiddlewareStack(URLRouter([path("ws/memory-logs/events", LiveUpdates.as_asgi())]))
# A page of another site could use a visitor's session, so the Origin header of browsers is checked. Programs send none.
browsers = AllowedHostsOriginValidator(programs)

STREAMS = {"/memory-logs/events"}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        from_a_page = any(name == b"origin" for name, _ in scope["headers"])
        await (browsers if from_a_page else programs)(scope, receive, send)
    elif scope["path"] in STREAMS:
        await event_loop(scope, receive, send)
    else:
        await answers(scope, receive, send)
