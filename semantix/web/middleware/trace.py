"""Bind the request id and the trace to everything that the request does."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from outbox.publishing import headers, traceparent
from semantix.observability import tracing
from semantix.web.middleware.access_log import QUIET

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# The id goes into logs, event headers and the response. Only these characters, so that nothing can be injected there.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def trace(
    get_response: GetResponse,
) -> GetResponse:
    """Put `traceparent` and `request_id` on every event of the request, and X-Request-ID on the response.

    A valid `traceparent` or `X-Request-ID` of the caller is continued; otherwise a new one is made.
    """

    def traced(request: HttpRequest) -> HttpResponseBase:
        request_id = _request_id(request.headers.get("X-Request-ID"))
        answer = _in_span if tracing.is_on() and request.path not in QUIET else _in_step
        with headers.bound({"request_id": request_id}):
            response = answer(request, get_response)
        response["X-Request-ID"] = request_id
        return response

    return traced


def _in_step(request: HttpRequest, get_response: GetResponse) -> HttpResponseBase:
    """Answer in a trace step that is not recorded. Its ids still go into logs and events."""
    caller = traceparent.parse(request.headers.get("traceparent"))
    with headers.bound({"traceparent": str(caller.child() if caller else traceparent.begin())}):
        return get_response(request)


def _in_span(request: HttpRequest, get_response: GetResponse) -> HttpResponseBase:
    caller = traceparent.parse(request.headers.get("traceparent"))
    with (
        tracing.request_span(request, str(caller or "")) as (span, ours),
        headers.bound({"traceparent": ours}),
    ):
        response = get_response(request)
        tracing.end_request(span, request, response)
        return response


def _request_id(sent: str | None) -> str:
    return sent if sent and _REQUEST_ID.fullmatch(sent) else uuid4().hex
