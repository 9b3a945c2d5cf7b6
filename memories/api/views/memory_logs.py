"""`/memory-logs`: store a memory, list memories."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of, require
from memories.api.errors import Invalid
from memories.api.examples import STORE
from memories.api.filters import filters_of
from memories.api.idempotency import answer_once, key_of
from memories.api.openapi import (
    APPLIED,
    COUNT_DIFFERS,
    ETAG,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_PROBLEMS,
    LOCATION,
    PREFER,
    REPLAYED,
    page_of,
)
from memories.api.pagination import NewestMemoryFirst, NewestStateFirst
from memories.api.parameters import CreateParameters, DeletedMemories, MemoriesParameters, owner_of
from memories.api.room import refuse_if_backlogged, require_quota
from memories.api.serializers.bulk_deletion import BulkDeletionOutput
from memories.api.serializers.memory_log import MemoryLogInput, validate
from memories.api.serializers.memory_output import MemoryLogOutput, serialize, serialize_state
from memories.api.strict_json import Refusal
from memories.api.tenant_defaults import with_tenant
from memories.api.versioning import etag
from memories.filters import matching
from memories.models import BulkDeletion
from memories.records import bulk_deletion, queries
from memories.records.services import NewMemory, create_memory
from memories.records.sync_status import filter_by_status
from memories.search.similar import find_similar
from memories.tenants import Tenant

# The bytes of one number of a vector in an answer.
VECTOR_BYTES = 22


class MemoryLogs(GenericAPIView[Any]):
    """Store a memory (POST), or list memories (GET), newest first."""

    serializer_class = MemoryLogInput

    @extend_schema(
        summary="List memories, newest first",
        operation_id="memory_logs_list",
        parameters=[MemoriesParameters],
        responses={200: page_of(MemoryLogOutput, "MemoryLogPage")},
    )
    def get(self, request: Request) -> Response:
        asked = MemoriesParameters.of(request)
        if "as_of" in asked:
            return self._page(queries.memories_at(asked["as_of"]), asked, NewestStateFirst(), serialize_state)
        embedding = "embedding" in asked.get("include", ())
        rows = queries.memories(embedding=embedding)
        if "sync_status" in asked:
            rows = filter_by_status(rows, asked["sync_status"])
        pages = NewestMemoryFirst(VECTOR_BYTES * settings.EMBEDDING_DIMENSIONS if embedding else 0)
        return self._page(rows, asked, pages, partial(serialize, embedding=embedding))

    @extend_schema(
        summary="Store a memory",
        operation_id="memory_logs_create",
        parameters=[CreateParameters, IDEMPOTENCY_KEY, REPLAYED, PREFER, APPLIED, ETAG, LOCATION],
        request=MemoryLogInput,
        examples=[STORE],
        responses={200: MemoryLogOutput, 201: MemoryLogOutput, **IDEMPOTENCY_PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        refuse_if_backlogged(request)
        asked = CreateParameters.of(request)
        body = with_tenant(request, request.data)
        if isinstance(body, list):
            raise Invalid([Refusal("", "This takes one memory. Send a list to POST /memory-logs/batch.")])
        key = key_of(request)
        new = NewMemory(**validate(body), idempotency_key=key)
        require(request, new.user_id, new.project_id)
        # Before the transaction of an Idempotency-Key: it waits for the embedder and for Chroma.
        similar = find_similar(new, asked["min_similarity"]) if "if_similar" in asked else None
        write = partial(_create, request, new, similar=similar, skip=asked.get("if_similar") == "skip")
        return answer_once(request, key, Tenant(new.user_id, new.project_id), write)

    @extend_schema(
        summary="Delete all memories that match",
        operation_id="memory_logs_delete",
        parameters=[DeletedMemories, LOCATION],
        responses={202: BulkDeletionOutput, 409: COUNT_DIFFERS},
    )
    def delete(self, request: Request) -> Response:
        asked = DeletedMemories.of(request)
        access = access_of(request)
        require(request, asked.get("user_id"), asked.get("project_id"))
        owner = access.named | owner_of(asked)
        deletion = bulk_deletion.request(owner, filters_of(asked), confirm=asked["confirm"])
        return Response(
            BulkDeletionOutput(deletion).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/memory-logs/deletions/{deletion.pk}"},
        )

    def _page(
        self, rows: Any, asked: dict[str, Any], pages: NewestMemoryFirst, shape: Callable[[Any], Any]
    ) -> Response:
        require(self.request, asked.get("user_id"), asked.get("project_id"))
        rows = matching(access_of(self.request).visible(rows).filter(**owner_of(asked)), filters_of(asked))
        page = pages.paginate_queryset(rows, self.request, view=self) or []
        return pages.get_paginated_response([shape(row) for row in page])


class BulkDeletionDetail(GenericAPIView[Any]):
    """A bulk deletion: how many matched when it was requested, and how many are deleted."""

    serializer_class = BulkDeletionOutput

    @extend_schema(
        summary="Read a bulk deletion",
        operation_id="memory_logs_deletion",
        responses={200: BulkDeletionOutput},
    )
    def get(self, request: Request, pk: int) -> Response:
        rows = access_of(request).visible(BulkDeletion.objects.all())
        return Response(BulkDeletionOutput(get_object_or_404(rows, pk=pk)).data)


def _create(request: Request, new: NewMemory, *, similar: int | None, skip: bool) -> Response:
    if similar and skip and (stored := _stored(similar)):
        return stored
    require_quota(request)
    row = create_memory(replace(new, similar_to=similar))
    return Response(
        serialize(row),
        status=status.HTTP_201_CREATED,
        headers={"Location": f"/memory-logs/{row.id}", **etag(row.version)},
    )


def _stored(memory_id: int) -> Response | None:
    """The answer with a memory that is stored already; None when it was deleted meanwhile."""
    row = queries.memories().filter(id=memory_id).first()
    if row is None:
        return None
    return Response(serialize(row), headers={"Location": f"/memory-logs/{row.id}", **etag(row.version)})
