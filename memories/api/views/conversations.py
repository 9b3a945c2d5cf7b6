"""`/conversations`: the conversations of a tenant in numbers, and a search in the turns that wait."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of, require
from memories.api.examples import SEARCH_TURNS
from memories.api.openapi import page_of
from memories.api.pagination import NewestFirst
from memories.api.parameters import ConversationsParameters, owner_of
from memories.api.serializers.conversation import ConversationOutput, TurnSearchAnswer, TurnSearchInput
from memories.api.tenant_defaults import with_tenant
from memories.conversations import search
from memories.conversations.transcript import waiting_counts
from memories.models.conversation import Conversation
from memories.tenants import Tenant


class Conversations(GenericAPIView[Any]):
    """Page through conversations, newest first: their state and how many turns they have."""

    serializer_class = ConversationOutput

    @extend_schema(
        summary="Page through conversations, newest first",
        operation_id="conversations_list",
        parameters=[ConversationsParameters],
        responses={200: page_of(ConversationOutput, "ConversationPage")},
    )
    def get(self, request: Request) -> Response:
        parameters = ConversationsParameters.of(request)
        require(request, parameters.get("user_id"), parameters.get("project_id"))
        rows = access_of(request).visible(Conversation.objects.all()).filter(**owner_of(parameters))
        paginator = NewestFirst()
        page = paginator.paginate_queryset(rows, request, view=self) or []
        serialized = ConversationOutput(page, many=True, context={"waiting": waiting_counts(page)})
        return paginator.get_paginated_response(serialized.data)


class TurnSearch(GenericAPIView[Any]):
    """Search the turns that wait to be saved, by words. Saved turns are found at `/memory-logs/search`."""

    serializer_class = TurnSearchInput

    @extend_schema(
        summary="Search the turns that are not saved yet",
        operation_id="conversations_search_turns",
        examples=[SEARCH_TURNS],
        responses={200: TurnSearchAnswer},
    )
    def post(self, request: Request) -> Response:
        body = TurnSearchInput(data=with_tenant(request, request.data))
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        tenant = Tenant(asked["user_id"], asked["project_id"])
        require(request, *tenant)
        answer = search.search(tenant, asked["query"], limit=asked["limit"])
        return Response({"results": [hit._asdict() for hit in answer.hits], "complete": answer.complete})
