"""The OpenAPI document and the page to read and try it on."""

from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.request import Request


class Schema(SpectacularAPIView):
    """JSON unless the Accept header asks for YAML; a reader of YAML reads JSON as well."""

    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]


class Page(SpectacularSwaggerView):
    title = "Semantix API"

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """There is the page alone, whatever was asked for: a refusal would have no page to stand on."""
        return super().perform_content_negotiation(request, force=True)


def home(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect("/docs")


def icon(request: HttpRequest) -> HttpResponseRedirect:
    """Browsers ask for it by this address where a page names none."""
    return HttpResponseRedirect(static("semantix/favicon.svg"))
