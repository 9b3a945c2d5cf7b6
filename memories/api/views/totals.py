"""`/memory-logs/count` and `/tenants`: how many memories there are."""

from typing import Any
from urllib.parse import urlencode

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of, require
from memories.api.filters import filters_of
from memories.api.parameters import CountParameters, TotalsParameters, owner_of
from memories.api.serializers.totals import CountOutput, TenantPage
from memories.api.tenant_cursor import cursor_of
from memories.filters import matching
from memories.models import MemoryLog
from memories.records import queries
from memories.records.totals import totals
from memories.tenants import Tenant

FIRST = Tenant("", "")


class MemoryLogCount(GenericAPIView[Any]):
    """How many memories match the filters."""

    serializer_class = CountOutput

    @extend_schema(
        summary="Count memories",
        operation_id="memory_logs_count",
        parameters=[CountParameters],
        responses={200: CountOutput},
    )
    def get(self, request: Request) -> Response:
        asked = CountParameters.of(request)
        require(request, asked.get("user_id"), asked.get("project_id"))
        rows: Any = queries.memories_at(asked["as_of"]) if "as_of" in asked else MemoryLog.objects.unexpired()
        mine = access_of(request).visible(rows).filter(**owner_of(asked))
        return Response({"count": matching(mine, filters_of(asked)).count()})


class Tenants(GenericAPIView[Any]):
    """The tenants that the key opens and that have memories, in the order of their ids."""

    serializer_class = TenantPage

    @extend_schema(
        summary="List tenants with their numbers of memories",
        operation_id="tenants_list",
        parameters=[TotalsParameters],
        responses={200: TenantPage},
    )
    def get(self, request: Request) -> Response:
        asked = TotalsParameters.of(request)
        require(request, asked.get("user_id"))
        owner = access_of(request).named | owner_of(asked)
        size = asked["page_size"]
        found = totals(owner, after=asked.get("cursor", FIRST), limit=size + 1)
        page = found[:size]
        return Response(
            {
                "next": _next(request, page[-1].tenant) if len(found) > size else None,
                # The memories of some tenants may all have expired.
                "results": [
                    {**total.tenant._asdict(), "memories": total.memories} for total in page if total.memories
                ],
            }
        )


def _next(request: Request, last: Tenant) -> str:
    query = urlencode({**request.query_params.dict(), "cursor": cursor_of(last)})
    return f"{request.build_absolute_uri(request.path)}?{query}"
