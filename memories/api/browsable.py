"""The API's pages in a browser."""

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.status import HTTP_200_OK, HTTP_405_METHOD_NOT_ALLOWED


class Pages(BrowsableAPIRenderer):
    """DRF's pages. An address that takes only POST shows its form: a person who follows a link sends a GET."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> Any:
        context = dict(renderer_context or {})
        if _asks_for_the_form(context):
            context["response"].status_code = HTTP_200_OK
            data = None
        return super().render(data, accepted_media_type, context)


def _asks_for_the_form(context: Mapping[str, Any]) -> bool:
    refused = context["response"].status_code == HTTP_405_METHOD_NOT_ALLOWED
    return refused and context["request"].method == "GET" and "POST" in context["view"].allowed_methods
