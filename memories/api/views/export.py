"""`/exports`: everything of a user or project as JSON lines."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

from memories.api.authentication import access_of, require
from memories.api.exports import Cursor, Export
from memories.api.openapi import LINK
from memories.api.parameters import ExportParameters
from memories.auth.access import Access
from memories.models import MemoryLog

CONTENT_TYPE = "application/x-ndjson"


class Exports(GenericAPIView[Any]):
    """A page of JSON lines. `Link` names the next page; without it the page is the last."""

    queryset = MemoryLog.objects.none()

    @extend_schema(
        summary="Export memories and conversations as JSON lines",
        operation_id="exports",
        parameters=[ExportParameters, LINK],
        responses={(200, CONTENT_TYPE): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        asked = ExportParameters.of(request)
        require(request, asked.get("user_id"), asked.get("project_id"))
        mine = access_of(request)
        access = Access(asked.get("user_id", mine.user_id), asked.get("project_id", mine.project_id))
        included = {f"{name}": True for name in asked.get("include", ())}
        lines, following = Export(access=access, **included).page(asked.get("cursor", Cursor()))
        response = HttpResponse(b"".join(line + b"\n" for line in lines), content_type=CONTENT_TYPE)
        if following is not None:
            query = urlencode({**request.query_params.dict(), "cursor": str(following)})
            response["Link"] = f'<{request.build_absolute_uri(request.path)}?{query}>; rel="next"'
        return response
