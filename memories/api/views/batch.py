"""`/memory-logs/batch`: store many memories, all or none."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

import outbox
from memories.api.authentication import require
from memories.api.examples import BATCH
from memories.api.idempotency import answer_once, key_of
from memories.api.openapi import APPLIED, IDEMPOTENCY_KEY, IDEMPOTENCY_PROBLEMS, PREFER, REPLAYED
from memories.api.parsers import MOST_REFUSALS
from memories.api.serializers.memory_log import MemoryLogInput, validate
from memories.api.serializers.memory_output import BatchOutput
from memories.records.services import NewMemory, create_memories
from memories.tenants import Tenant
from outbox.publishing.backpressure import refuse_if_too_deep


class MemoryLogBatch(GenericAPIView[Any]):
    """Store all memories of a list, or none and answer with the errors by index.

    Their events have a lower priority than those of single creates.
    """

    serializer_class = MemoryLogInput

    @extend_schema(
        summary="Store many memories",
        operation_id="memory_logs_batch",
        request=MemoryLogInput(many=True),
        examples=[BATCH],
        parameters=[IDEMPOTENCY_KEY, REPLAYED, PREFER, APPLIED],
        responses={201: BatchOutput, **IDEMPOTENCY_PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        refuse_if_too_deep(outbox.BULK)
        new = _validate_all(request.data)
        for tenant in {(memory.user_id, memory.project_id) for memory in new}:
            require(request, *tenant)
        first = Tenant(new[0].user_id, new[0].project_id)
        return answer_once(request, key_of(request), first, lambda: _create(new))


def _create(new: list[NewMemory]) -> Response:
    ids = [row.id for row in create_memories(new)]
    return Response({"created": len(ids), "ids": ids}, status=status.HTTP_201_CREATED)


def _validate_all(body: Any) -> list[NewMemory]:
    """Raises ValidationError with the errors by index."""
    if not isinstance(body, list):
        raise ValidationError("A batch is a list of memories.")
    if not 1 <= len(body) <= settings.BATCH_MAX_ITEMS:
        raise ValidationError(
            f"A batch has from 1 to {settings.BATCH_MAX_ITEMS:,} memories (BATCH_MAX_ITEMS); "
            f"this one has {len(body):,}."
        )
    valid: list[NewMemory] = []
    errors: dict[str, Any] = {}
    for index, item in enumerate(body):
        try:
            valid.append(NewMemory(**validate(item)))
        except ValidationError as error:
            errors[str(index)] = error.detail
        if len(errors) == MOST_REFUSALS:
            break
    if errors:
        raise ValidationError(errors)
    return valid
