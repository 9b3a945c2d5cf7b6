"""The OpenAPI document and the page to read and try it on."""

from django.http import HttpRequest, HttpResponseRedirect
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView


class Schema(SpectacularAPIView):
    """JSON unless the Accept header asks for YAML; a reader of YAML reads JSON as well."""

    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2]


class Page(SpectacularSwaggerView):
    title = "Semantix API"


@require_safe
def home(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect("/docs")
