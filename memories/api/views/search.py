"""`/memory-logs/search`, `/memory-logs/search/batch` and `/memory-logs/{id}/similar`: find memories."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of, require
from memories.api.examples import SEARCH, SEARCH_BATCH
from memories.api.filters import filters_of
from memories.api.limits import SEARCHES
from memories.api.openapi import SEARCH_BATCH as SEARCH_BATCH_ID
from memories.api.parameters import SimilarParameters
from memories.api.problems import problem_of, translated
from memories.api.serializers.search import BatchAnswer, SearchInput, SearchResult
from memories.api.serializers.search_results import serialize_hits
from memories.api.tenant_defaults import with_tenant
from memories.api.throttling import count_more
from memories.models import MemoryLog
from memories.search import across
from memories.search.batch import with_vectors
from memories.search.like import answer_like
from memories.search.search import Answer, Query, answer
from outbox import Unavailable


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
        search = _validated(request, with_tenant(request, request.data))
        return _response(_answer(search.to_query()), search.included)


class MemoryLogSearchBatch(GenericAPIView[Any]):
    """Ask several questions at once. Each is answered apart, with its results or with its problem."""

    serializer_class = SearchInput

    @extend_schema(
        summary="Search for several questions",
        operation_id=SEARCH_BATCH_ID,
        request=SearchInput(many=True),
        responses={200: BatchAnswer},
        examples=[SEARCH_BATCH],
    )
    def post(self, request: Request) -> Response:
        bodies = with_tenant(request, request.data)
        if not isinstance(bodies, list) or not 1 <= len(bodies) <= SEARCHES:
            raise ValidationError(f"A batch is a list of 1 to {SEARCHES} searches.")
        count_more(request, len(bodies) - 1)
        answers: list[dict[str, Any]] = [{} for _ in bodies]
        searches: dict[int, SearchInput] = {}
        for number, body in enumerate(bodies):
            try:
                searches[number] = _validated(request, body)
            except APIException as error:
                answers[number] = {"problem": problem_of(error)}
        asked = with_vectors([search.to_query() for search in searches.values()])
        for (number, search), query in zip(searches.items(), asked, strict=True):
            answers[number] = _answered(query, search)
        return Response({"answers": answers})


class SimilarMemories(GenericAPIView[Any]):
    """The memories whose meaning is nearest to one of them, in the same project."""

    queryset = MemoryLog.objects.none()

    @extend_schema(
        summary="Find memories that are similar to a memory",
        operation_id="memory_logs_similar",
        parameters=[SimilarParameters],
        responses={200: SearchResult(many=True)},
    )
    def get(self, request: Request, pk: int) -> Response:
        asked = SimilarParameters.of(request)
        row = access_of(request).visible(MemoryLog.objects.unexpired()).get(id=pk)
        query = Query(
            text="",
            tenant=row.tenant,
            limit=asked["limit"],
            min_similarity=asked["min_similarity"],
            filters=filters_of(asked),
        )
        return _response(answer_like(row, query), asked.get("include", ()))


def _validated(request: Request, body: Any) -> SearchInput:
    """The search of a body. Raises ValidationError, and PermissionDenied for another tenant."""
    search = SearchInput(data=body)
    search.is_valid(raise_exception=True)
    require(request, search.validated_data["user_id"], search.validated_data.get("project_id"))
    return search


def _answer(query: Query) -> Answer:
    return answer(query) if query.tenant.project_id else across.answer(query)


def _answered(query: Query, search: SearchInput) -> dict[str, Any]:
    """One answer of a batch. An outage of PostgreSQL is one of the whole batch."""
    try:
        answered = _answer(query)
    except (Unavailable, across.TooManyProjects) as error:
        known = translated(error)
        assert isinstance(known, APIException)
        return {"problem": problem_of(known)}
    return {"results": serialize_hits(answered.found, search.included), "backend": answered.backend}


def _response(answered: Answer, include: Any) -> Response:
    headers = {"X-Search-Backend": answered.backend} if answered.backend else {}
    return Response(serialize_hits(answered.found, include), headers=headers)
