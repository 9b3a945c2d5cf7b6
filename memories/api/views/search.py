"""`/memory-logs/search`: find memories by words and meaning."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import require
from memories.api.examples import SEARCH
from memories.api.serializers.memory_output import serialize
from memories.api.serializers.search import SearchInput, SearchResult
from memories.api.tenant_defaults import with_tenant
from memories.models import MemoryLog
from memories.records import queries
from memories.search.search import answer


class MemoryLogSearch(GenericAPIView[Any]):
    """Search memories. The best results come first."""

    # The browsable API requires a queryset from a view that answers with a list.
    queryset = MemoryLog.objects.none()
    serializer_class = SearchInput

    @extend_schema(
        summary="Search by words and meaning",
        operation_id="memory_logs_search",
        request=SearchInput,
        responses={200: SearchResult(many=True)},
        examples=[SEARCH],
    )
    def post(self, request: Request) -> Response:
        search = SearchInput(data=with_tenant(request, request.data))
        search.is_valid(raise_exception=True)
        query = search.to_query()
        require(request, *query.tenant)
        answered = answer(query)
        headers = {"X-Search-Backend": answered.backend} if answered.backend else {}
        results: list[dict[str, Any]] = list(SearchResult(answered.found, many=True).data)
        if "memory" in search.validated_data.get("include", ()):
            results = _with_memories(results)
        return Response(results, headers=headers)


def _with_memories(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each result with its memory, read in one query."""
    rows = queries.memories().in_bulk([result["memory_log_id"] for result in results])
    found = {id: serialize(row) for id, row in rows.items()}
    return [{**result, "memory": found.get(result["memory_log_id"])} for result in results]
