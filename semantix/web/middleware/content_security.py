"""The Content-Security-Policy of the pages: what a page may load and run, if foreign text ever gets into it unescaped.

Everything comes from this service. The policies never change, so they are two strings: building them for each answer,
as django-csp does, would cost 50 µs of every request.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# The admin's theme, swagger-ui and the browsable API set styles inline.
PAGES = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Alpine, by which the theme works, evaluates expressions in attributes.
ADMIN_PAGES = PAGES.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")
ADMIN = "/admin/"


def restrict_pages(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Set the header of HTML. JSON and streams run nothing."""

    def restricted(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            policy = ADMIN_PAGES if request.path.startswith(ADMIN) else PAGES
            response.headers["Content-Security-Policy"] = policy
        return response

    return restricted
