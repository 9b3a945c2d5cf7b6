"""`/memory-logs/{id}`: one memory and its history."""

from functools import partial as bind
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import access_of
from memories.api.examples import CHANGE, REPLACE
from memories.api.openapi import APPLIED, CHANGED, ETAG, IF_MATCH, MERGE_PATCH_BODY, PREFER, page_of
from memories.api.pagination import OldestVersionFirst
from memories.api.parameters import MemoryParameters, PageParameters
from memories.api.parsers import MERGE_PATCH, MergePatchParser
from memories.api.room import refuse_if_backlogged, require_quota
from memories.api.serializers.memory_log import MemoryLogChange, merged_changes, validated_changes
from memories.api.serializers.memory_output import (
    MemoryLogOutput,
    Version,
    serialize,
    serialize_state,
    serialize_version,
)
from memories.api.versioning import etag, expected_version
from memories.models import MemoryLog
from memories.records import queries, services


class MemoryLogDetail(GenericAPIView[Any]):
    """One memory and its sync status. PUT replaces it, PATCH changes fields of it, DELETE deletes it."""

    serializer_class = MemoryLogChange

    @extend_schema(
        summary="Read a memory", parameters=[MemoryParameters, ETAG], responses={200: MemoryLogOutput}
    )
    def get(self, request: Request, pk: int) -> Response:
        asked = MemoryParameters.of(request)
        if "as_of" in asked:
            states = access_of(request).visible(queries.memories_at(asked["as_of"]))
            return _answer(serialize_state(get_object_or_404(states, pgh_obj=pk)))
        embedding = "embedding" in asked.get("include", ())
        return _answer(serialize(queries.memory(self._rows(embedding=embedding), pk), embedding=embedding))

    @extend_schema(
        summary="Replace a memory",
        examples=[REPLACE],
        parameters=[IF_MATCH, PREFER, APPLIED, ETAG],
        responses={200: MemoryLogOutput, 412: CHANGED},
    )
    def put(self, request: Request, pk: int) -> Response:
        return self._change(request, pk, partial=False)

    @extend_schema(
        summary="Change fields of a memory",
        examples=[CHANGE],
        request={"application/json": MemoryLogChange, MERGE_PATCH: MERGE_PATCH_BODY},
        parameters=[IF_MATCH, PREFER, APPLIED, ETAG],
        responses={200: MemoryLogOutput, 412: CHANGED},
    )
    def patch(self, request: Request, pk: int) -> Response:
        if request.content_type.startswith(MERGE_PATCH):
            return self._merge(request, pk)
        return self._change(request, pk, partial=True)

    @extend_schema(summary="Delete a memory", parameters=[IF_MATCH], responses={204: None, 412: CHANGED})
    def delete(self, request: Request, pk: int) -> Response:
        services.delete_memory(pk, expected_version=expected_version(request), among=self._rows())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, pk: int, *, partial: bool) -> Response:
        refuse_if_backlogged(request)
        require_quota(request, memories=0)
        return self._update(request, pk, bind(validated_changes, data=request.data, partial=partial))

    def _merge(self, request: Request, pk: int) -> Response:
        refuse_if_backlogged(request)
        require_quota(request, memories=0)
        return self._update(request, pk, bind(merged_changes, patch=request.data))

    def _update(self, request: Request, pk: int, changes: services.Changes) -> Response:
        row = services.update_memory(
            pk, changes, expected_version=expected_version(request), among=self._rows()
        )
        return _answer(serialize(row))

    def get_parsers(self) -> list[BaseParser]:
        """PATCH also takes a merge patch."""
        parsers = super().get_parsers()
        return [*parsers, MergePatchParser()] if getattr(self.request, "method", "") == "PATCH" else parsers

    def _rows(self, *, embedding: bool = False) -> services.Memories:
        """The memories that the caller may see."""
        rows = (
            MemoryLog.objects.unexpired() if embedding else MemoryLog.objects.unexpired().defer("embedding")
        )
        return access_of(self.request).visible(rows)


class MemoryLogHistory(GenericAPIView[Any]):
    """Every version of a memory, oldest first: what made it, when, and its content. A deleted memory keeps them."""

    serializer_class = Version

    @extend_schema(
        summary="List the versions of a memory, oldest first",
        operation_id="memory_logs_history",
        parameters=[PageParameters],
        responses={200: page_of(Version, "VersionPage")},
    )
    def get(self, request: Request, pk: int) -> Response:
        PageParameters.of(request)
        paginator = OldestVersionFirst()
        versions = access_of(request).visible(queries.versions(pk))
        page = paginator.paginate_queryset(versions, request, view=self)
        if not page:
            raise NotFound
        return paginator.get_paginated_response([serialize_version(version) for version in page])


def _answer(body: dict[str, Any]) -> Response:
    return Response(body, headers=etag(body["version"]))
