"""Errors outside the API's own views - unknown addresses, middleware, crashes - as problems, too.

The admin's stay pages of HTML: it is for people.
"""

import logging
import sys
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.urls import is_valid_path

from memories.api.errors import ServiceUnavailable
from memories.api.problems import CONTENT_TYPE, problem, problem_of, translated
from outbox.publishing import headers

logger = logging.getLogger(__name__)

# What Django answers by itself: the code, and the words for it.
KNOWN = {
    400: ("bad_request", "The request is malformed, or its Host is not one of ALLOWED_HOSTS."),
    403: ("permission_denied", "This is not allowed."),
    404: ("not_found", "There is nothing at {path}. What there is stands at /docs."),
    405: ("method_not_allowed", "{method} is not possible here; the Allow header lists what is."),
    413: ("too_large", "The request is larger than this service takes."),
}
SLASH = "There is nothing at {path}; there is at {without}, without the slash."
FAILED = ("error", "The service failed on this request; its log tells why, under the id {request_id}.")


class ProblemMiddleware:
    """Puts a problem in the place of Django's own pages for an error."""

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
    """Django's handler500. A store that is away is no crash: it is 503, in the admin as well."""
    error = translated(sys.exc_info()[1])
    if not isinstance(error, ServiceUnavailable):
        logger.error("Request %s failed; its traceback follows.", _request_id())
        return HttpResponse("<h1>Server Error (500)</h1>", status=500)
    if _is_the_admins(request):
        answer = HttpResponse(f"<h1>Not available</h1><p>{error.detail}</p>", status=error.status_code)
    else:
        answer = _json(problem_of(error))
    answer["Retry-After"] = str(error.wait)
    return answer


def _is_for_people(request: HttpRequest, response: HttpResponseBase) -> bool:
    """A page that a view rendered, or Django's own where a developer looks at it; so is all that is no HTML."""
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
