"""`/conversations`: the conversations of a tenant, in numbers."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of, require
from memories.api.openapi import page_of
from memories.api.pagination import NewestFirst
from memories.api.parameters import ConversationsParameters, conditions
from memories.api.serializers.conversation import ConversationOutput
from memories.conversations.transcript import waiting_counts
from memories.models.conversation import Conversation


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
        rows = access_of(request).visible(Conversation.objects.all()).filter(**conditions(parameters))
        paginator = NewestFirst()
        page = paginator.paginate_queryset(rows, request, view=self) or []
        serialized = ConversationOutput(page, many=True, context={"waiting": waiting_counts(page)})
        return paginator.get_paginated_response(serialized.data)
