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
from memories.api.room import refuse_if_backlogged, require_quota
from memories.api.serializers.memory_log import MemoryLogInput, validate
from memories.api.serializers.memory_output import BatchOutput
from memories.api.tenant_defaults import with_tenant
from memories.records.put import put_memories
from memories.records.services import NewMemory, create_memories
from memories.tenants import Tenant


class MemoryLogBatch(GenericAPIView[Any]):
    """Store all memories of a list, or none and answer with the errors by index.

    A memory with an `external_id` that is stored already is replaced.
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
        refuse_if_backlogged(request, outbox.BULK)
        memories = _validate_all(with_tenant(request, request.data))
        tenants = [Tenant(fields["user_id"], fields["project_id"]) for fields in memories]
        for tenant in set(tenants):
            require(request, *tenant)
        return answer_once(request, key_of(request), tenants[0], lambda: _store(request, memories))


def _store(request: Request, memories: list[dict[str, Any]]) -> Response:
    require_quota(request, memories=len(memories))
    if any(fields.get("external_id") for fields in memories):
        stored = put_memories(memories)
        created = sum(put.created for put in stored)
        answer = {"created": created, "replaced": len(stored) - created, "ids": [put.id for put in stored]}
    else:
        ids = [row.id for row in create_memories(NewMemory(**fields) for fields in memories)]
        answer = {"created": len(ids), "ids": ids}
    return Response(answer, status=status.HTTP_201_CREATED)


def _validate_all(body: Any) -> list[dict[str, Any]]:
    """The fields of each memory. Raises ValidationError with the errors by index."""
    if not isinstance(body, list):
        raise ValidationError("A batch is a list of memories.")
    if not 1 <= len(body) <= settings.BATCH_MAX_ITEMS:
        raise ValidationError(
            f"A batch has from 1 to {settings.BATCH_MAX_ITEMS:,} memories (BATCH_MAX_ITEMS); "
            f"this one has {len(body):,}."
        )
    valid: list[dict[str, Any]] = []
    errors: dict[str, Any] = {}
    for index, item in enumerate(body):
        try:
            valid.append(validate(item))
        except ValidationError as error:
            errors[str(index)] = error.detail
        if len(errors) == MOST_REFUSALS:
            break
    if errors:
        raise ValidationError(errors)
    _refuse_repeated(valid)
    return valid


def _refuse_repeated(memories: list[dict[str, Any]]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for index, fields in enumerate(memories):
        if external_id := fields.get("external_id"):
            key = (fields["user_id"], fields["project_id"], external_id)
            if key in seen:
                raise ValidationError({str(index): {"external_id": "Another item of the batch has this id."}})
            seen.add(key)
