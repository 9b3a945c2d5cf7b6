"""A small web server for the metrics of a cluster, which has no other."""

from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from semantix.observability.metrics.view import TOKEN_NEEDED, is_allowed, measured_registry

StartResponse = Callable[..., Any]


class Handler(WSGIRequestHandler):
    # Seconds after which a silent client is disconnected.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is not news."""


def serve_metrics(port: int) -> None:
    """Answer /metrics, and /health/live, on a thread of its own.

    Listens on all addresses where METRICS_TOKEN protects the metrics, and on loopback only without it.
    """
    host = "0.0.0.0" if settings.METRICS_TOKEN else "127.0.0.1"
    server = make_server(host, port, application, ThreadingWSGIServer, Handler)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/health/live":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"status": "ok"}']
    if not is_allowed(environ.get("HTTP_AUTHORIZATION", "")):
        start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
        return [TOKEN_NEEDED.encode()]
    answer: Iterable[bytes] = make_wsgi_app(measured_registry())(environ, start_response)
    return answer
