"""`/conversations/{conversation_id}`: append turns, read all of them, save them now."""

from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from memories.api.authentication import require
from memories.api.encoded_path import decoded
from memories.api.examples import CLOSE, SAY, SAY_MANY
from memories.api.fields import Identifier
from memories.api.idempotency import key_of
from memories.api.openapi import CONVERSATION_ID, IDEMPOTENCY_KEY, IDEMPOTENCY_PROBLEMS, LOCATION, REPLAYED
from memories.api.parameters import ConversationParameters, TenantParameters
from memories.api.room import require_quota
from memories.api.serializers.conversation import (
    ConversationClosed,
    ConversationOutput,
    ConversationTranscript,
    Gap,
    PostInput,
    TenantInput,
    TurnsAppended,
)
from memories.api.tenant_defaults import with_tenant
from memories.conversations import append, erase, flush, transcript
from memories.conversations.transcript import Limit
from memories.conversations.turns import Post
from memories.models.conversation import Conversation
from memories.tenants import Tenant


class ConversationTurns(GenericAPIView[Any]):
    """Append one turn or several. They are embedded, and found by a search, once the conversation is saved."""

    serializer_class = PostInput

    @extend_schema(
        summary="Add turns to a conversation",
        operation_id="conversations_say",
        parameters=[CONVERSATION_ID, IDEMPOTENCY_KEY, LOCATION, REPLAYED],
        examples=[SAY, SAY_MANY],
        responses={202: TurnsAppended, 422: IDEMPOTENCY_PROBLEMS[422]},
    )
    def post(self, request: Request, conversation_id: str) -> Response:
        body = PostInput(data=with_tenant(request, request.data))
        body.is_valid(raise_exception=True)
        tenant = Tenant(body.validated_data["user_id"], body.validated_data["project_id"])
        require(request, *tenant)
        post = Post(
            tenant=tenant,
            conversation_id=_checked(request, conversation_id),
            turns=tuple(body.validated_data["turns"]),
            key=key_of(request),
        )
        require_quota(request)
        appended = append.append(post)
        return Response(
            {
                "conversation_id": post.conversation_id,
                "turns": [{"seq": number} for number in appended.receipt.numbers],
                "buffer": appended.buffer,
                "degraded": appended.degraded,
            },
            status=status.HTTP_202_ACCEPTED,
            headers={
                "Location": f"/conversations/{quote(post.conversation_id, safe='')}",
                **({"Idempotency-Replayed": "true"} if appended.receipt.replayed else {}),
            },
        )


class ConversationDetail(GenericAPIView[Any]):
    """A page of turns in order, saved or waiting, and the gaps. `next` is the address of the next page."""

    serializer_class = ConversationOutput

    @extend_schema(
        summary="Read a conversation: saved and waiting turns",
        operation_id="conversations_read",
        parameters=[CONVERSATION_ID, ConversationParameters],
        responses={200: ConversationTranscript},
    )
    def get(self, request: Request, conversation_id: str) -> Response:
        parameters = ConversationParameters.of(request)
        row = _visible(request, conversation_id, parameters)
        limit = Limit(parameters["page_size"], settings.PAGE_MAX_BYTES)
        return Response(_serialized(request, transcript.transcript(row, limit, after=parameters["after"])))

    @extend_schema(
        summary="Delete a conversation: waiting turns and saved memories",
        operation_id="conversations_delete",
        parameters=[CONVERSATION_ID, TenantParameters],
        responses={204: None},
    )
    def delete(self, request: Request, conversation_id: str) -> Response:
        row = _visible(request, conversation_id, TenantParameters.of(request))
        try:
            erase.delete(row)
        except Conversation.DoesNotExist as error:
            raise Http404 from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class ConversationClose(GenericAPIView[Any]):
    """Save the conversation now, without waiting until it is idle. A later turn opens it again."""

    serializer_class = TenantInput

    @extend_schema(
        summary="Save a conversation now",
        operation_id="conversations_close",
        parameters=[CONVERSATION_ID],
        examples=[CLOSE],
        responses={200: ConversationClosed},
    )
    def post(self, request: Request, conversation_id: str) -> Response:
        body = TenantInput(data=with_tenant(request, request.data))
        body.is_valid(raise_exception=True)
        row = _visible(request, conversation_id, body.validated_data)
        flush.close(row)
        row.refresh_from_db()
        conversation = ConversationOutput(row, context={"waiting": transcript.waiting_counts([row])})
        return Response({**conversation.data, "memory_ids": transcript.memory_ids(row)})


def _checked(request: Request, argument: str) -> str:
    """The id in the path. Raises ValidationError."""
    try:
        return str(Identifier().run_validation(decoded(request, argument)))
    except ValidationError as error:
        raise ValidationError({"conversation_id": error.detail}) from error


def _visible(request: Request, conversation_id: str, tenant: dict[str, Any]) -> Conversation:
    """The conversation. Raises Http404; PermissionDenied if the key does not open the tenant."""
    require(request, tenant["user_id"], tenant["project_id"])
    return get_object_or_404(
        Conversation,
        user_id=tenant["user_id"],
        project_id=tenant["project_id"],
        conversation_id=_checked(request, conversation_id),
    )


def _serialized(request: Request, found: transcript.Transcript) -> dict[str, Any]:
    url = request.build_absolute_uri()
    return {
        **ConversationOutput(found.row, context={"waiting": {found.row.id: found.waiting}}).data,
        "next": None if found.next_after is None else replace_query_param(url, "after", found.next_after),
        "turns": found.turns,
        "memory_ids": found.memory_ids,
        "gaps": Gap(found.gaps, many=True).data,
        "complete": found.complete,
    }
