"""Count and time requests by route, never by path: each id in a path would create a series."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from semantix.observability.metrics.metrics import http_requests, http_seconds

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
STATIC = f"/{settings.STATIC_URL.strip('/')}/"


def measure(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def measured(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = get_response(request)
        route = route_of(request)
        http_requests.labels(known_method(request.method), route, str(response.status_code)).inc()
        http_seconds.labels(route).observe(time.perf_counter() - started)
        return response

    return measured


def route_of(request: HttpRequest) -> str:
    """The URL pattern, like `/memory-logs/<int:pk>`; `(unknown)` for all paths that match no pattern."""
    if request.path.startswith(STATIC):
        return f"{STATIC}*"
    match = request.resolver_match
    return f"/{match.route}" if match and match.route is not None else "(unknown)"


def known_method(method: str | None) -> str:
    """The method, or `(other)`: clients may invent methods, and each would create a series."""
    return method if method in METHODS else "(other)"
