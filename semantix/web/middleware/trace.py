"""Which request, and which trace, what happens next belongs to."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from outbox.publishing import headers, traceparent
from semantix.observability import tracing
from semantix.web.middleware.access_log import QUIET

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# It goes into logs and event headers, and back to the caller: nothing that could be read as more than an id.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def trace(
    get_response: GetResponse,
) -> GetResponse:
    """Have every event of the request carry `traceparent` and `request_id`; answer with X-Request-ID.

    The caller's `traceparent` and `X-Request-ID` are taken up where they are valid, made where they are not.
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
    """A step of the trace that nobody records: its ids go into logs and events all the same."""
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
