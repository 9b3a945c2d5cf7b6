"""One log line for each answered request."""

import logging
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from semantix.observability.metrics.middleware import STATIC, route_of

logger = logging.getLogger("semantix.request")

# Machines request these every few seconds, and a page needs dozens of static files: logged at DEBUG.
QUIET = {"/health/live", "/health/ready", "/metrics", f"{STATIC}*"}


def log_requests(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Log the route instead of path and query: those may contain what a person searched for."""

    def logged(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = get_response(request)
        logger.log(
            _level(request, response.status_code),
            "%s %s %d",
            request.method,
            route_of(request),
            response.status_code,
            extra={"duration_ms": round((time.perf_counter() - started) * 1000, 1)},
        )
        return response

    return logged


def _level(request: HttpRequest, status: int) -> int:
    if status >= 500:
        return logging.ERROR
    return logging.DEBUG if route_of(request) in QUIET else logging.INFO
