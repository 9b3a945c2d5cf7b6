"""`/memory-logs/search`: the memories that answer a question."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import require
from memories.api.examples import SEARCH
from memories.api.serializers.search import SearchInput, SearchResult
from memories.models import MemoryLog
from memories.search.search import answer


class MemoryLogSearch(GenericAPIView[Any]):
    """The memories that answer a question, best first."""

    # The browsable API asks a view that answers with a list for one.
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
        given = SearchInput(data=request.data)
        given.is_valid(raise_exception=True)
        query = given.asked()
        require(request, *query.tenant)
        answered = answer(query)
        headers = {"X-Search-Backend": answered.backend} if answered.backend else {}
        return Response(SearchResult(answered.found, many=True).data, headers=headers)
