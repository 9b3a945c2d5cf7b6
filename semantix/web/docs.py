"""The OpenAPI document, and the page where people read it and try requests."""

from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from semantix.web.other_endpoints import OTHERS


class Schema(SpectacularAPIView):
    """The document as JSON, or as YAML where the Accept header asks for it. (YAML parsers read JSON as well.)

    With `?everything=yes` it also has the addresses that are no operations of JSON, for people.
    """

    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]

    def _get_schema_response(self, request: Request) -> Response:
        response: Response = super()._get_schema_response(request)  # type: ignore[no-untyped-call]
        if "everything" in request.query_params:
            response.data = response.data | {"paths": response.data["paths"] | OTHERS}
        return response


class Page(SpectacularSwaggerSplitView):
    """The page loads its own script from ?script=: a page may not run inline scripts."""

    title = "Semantix API"
    url = "/schema?everything=yes"

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Render the page whatever the Accept header says: no renderer is left for an error page."""
        return super().perform_content_negotiation(request, force=True)


def home(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect("/docs")


def icon(request: HttpRequest) -> HttpResponseRedirect:
    """Redirect to the icon. Browsers request /favicon.ico where a page names no icon."""
    return HttpResponseRedirect(static("semantix/favicon.svg"))
