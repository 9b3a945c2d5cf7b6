"""Run the web server: python -m semantix.web. HOST, PORT and the WEB_* settings configure it."""

import os
from argparse import ArgumentParser

import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "semantix.settings")

# Seconds for open requests to finish when the server stops; container engines kill after ten. Live streams end at once.
GRACE_SECONDS = 8
# A process that says nothing for so long is replaced. One that gets no processor for a while is busy, not dead.
SILENT_SECONDS = 30
# The largest WebSocket message of a client: it sends at most the id of the last event that it has seen.
WEBSOCKET_BYTES = 64 * 1024


def main() -> None:
    from django.conf import settings

    arguments = ArgumentParser(prog="python -m semantix.web", description="Run the web server.")
    arguments.add_argument("--host", default=settings.HOST, help="the address to listen on (HOST)")
    arguments.add_argument("--port", type=int, default=settings.PORT, help="the port to listen on (PORT)")
    arguments.add_argument("--app", default="semantix.warmed:application", help="another ASGI application")
    given = arguments.parse_args()
    uvicorn.run(
        given.app,
        host=given.host,
        port=given.port,
        workers=settings.WEB_WORKERS,
        http="semantix.web.protocol:Protocol",
        lifespan="off",
        log_level="warning",
        # semantix/asgi.py handles these headers, so that they are handled the same way under every server.
        proxy_headers=False,
        timeout_keep_alive=settings.WEB_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=SILENT_SECONDS,
        ws_max_size=WEBSOCKET_BYTES,
    )


if __name__ == "__main__":
    main()
