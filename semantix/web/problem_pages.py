"""Problem documents for errors outside the API's views: unknown addresses, middleware, crashes.

The admin keeps its HTML error pages, because people read them.
"""

import logging
import sys
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import is_valid_path
from django.utils.html import format_html

from memories.api.errors import ServiceUnavailable
from memories.api.problems import CONTENT_TYPE, problem, problem_of, translated
from outbox.publishing import headers

logger = logging.getLogger(__name__)

# The errors that Django answers itself: problem code and detail by status.
KNOWN = {
    400: ("bad_request", "The request is malformed, or its Host is not in ALLOWED_HOSTS."),
    403: ("permission_denied", "You may not do this."),
    404: ("not_found", "There is nothing at {path}. /docs lists all addresses."),
    405: (
        "method_not_allowed",
        "{path} does not accept {method}. The Allow header lists the methods it accepts.",
    ),
    413: ("too_large", "The request is larger than MAX_BODY_BYTES. Send less at a time."),
}
SLASH = "There is nothing at {path}. Remove the slash: {without} exists."
FAILED = ("error", "The service failed. Its log has the reason under request id {request_id}.")


class ProblemMiddleware:
    """Replace Django's own error pages by problem documents."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code < 400 or _is_for_people(request, response):
            return response
        found = _problem(request, response.status_code)
        if "Allow" in response:
            found["Allow"] = response["Allow"]
        return found


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500. An unavailable store is not a crash: the answer is 503, in the admin as well."""
    error = translated(sys.exc_info()[1])
    if not isinstance(error, ServiceUnavailable):
        logger.error("Request %s failed. Its traceback follows.", _request_id())
        return HttpResponse("<h1>Server Error (500)</h1>", status=500)
    if _is_the_admins(request):
        page = format_html("<h1>Not available</h1><p>{}</p>", error.detail)
        answer = HttpResponse(page, status=error.status_code)
    else:
        answer = _json(problem_of(error))
    answer["Retry-After"] = str(error.wait)
    return answer


def _is_for_people(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether to leave the response as it is: not HTML, rendered by a view, or a debug page for a developer."""
    is_page = response.get("Content-Type", "").startswith("text/html")
    rendered = response.streaming or hasattr(response, "accepted_renderer") or _is_the_admins(request)
    return not is_page or rendered or (settings.DEBUG and request.accepts("text/html"))


def _is_the_admins(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def _request_id() -> str:
    return headers.current().get("request_id", "-")


def _problem(request: HttpRequest, status: int) -> HttpResponse:
    code, detail = KNOWN.get(status, FAILED)
    without = request.path.rstrip("/")
    if status == 404 and without != request.path and is_valid_path(without):
        detail = SLASH
    about = {
        "path": request.path,
        "without": without,
        "method": request.method,
        "request_id": _request_id(),
    }
    return _json(problem(status, code, detail.format(**about)))


def _json(document: dict[str, object]) -> HttpResponse:
    return JsonResponse(document, status=document["status"], content_type=CONTENT_TYPE)
