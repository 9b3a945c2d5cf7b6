"""`/memory-logs/external/{external_id}`: a memory by the client's own id."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

import outbox
from memories.api.authentication import access_of, require
from memories.api.encoded_path import decoded
from memories.api.examples import PUT
from memories.api.fields import ExternalId
from memories.api.openapi import (
    APPLIED,
    CHANGED,
    ETAG,
    EXTERNAL_ID,
    IF_MATCH,
    IF_NONE_MATCH,
    LOCATION,
    PREFER,
)
from memories.api.parameters import ExternalParameters, TenantParameters
from memories.api.room import refuse_if_backlogged, require_quota
from memories.api.serializers.memory_log import MemoryLogInput, validate
from memories.api.serializers.memory_output import MemoryLogOutput, serialize
from memories.api.tenant_defaults import with_tenant
from memories.api.versioning import etag, expected_for_put, expected_version
from memories.models import MemoryLog
from memories.records import queries, services
from memories.records.put import put_memories


class ExternalMemory(GenericAPIView[Any]):
    """A memory by your own id. PUT creates it, or replaces it when there is one."""

    serializer_class = MemoryLogInput

    @extend_schema(
        summary="Read a memory by its external id",
        operation_id="external_memory_read",
        parameters=[EXTERNAL_ID, ExternalParameters, ETAG],
        responses={200: MemoryLogOutput},
    )
    def get(self, request: Request, external_id: str) -> Response:
        asked = ExternalParameters.of(request)
        embedding = "embedding" in asked.get("include", ())
        row = self._visible(external_id, asked, embedding=embedding)
        return Response(serialize(row, embedding=embedding), headers=etag(row.version))

    @extend_schema(
        summary="Create or replace a memory by its external id",
        operation_id="external_memory_put",
        parameters=[EXTERNAL_ID, IF_MATCH, IF_NONE_MATCH, PREFER, APPLIED, ETAG, LOCATION],
        examples=[PUT],
        responses={200: MemoryLogOutput, 201: MemoryLogOutput, 412: CHANGED},
    )
    def put(self, request: Request, external_id: str) -> Response:
        refuse_if_backlogged(request)
        fields = validate(with_tenant(request, request.data))
        require(request, fields["user_id"], fields["project_id"])
        named = _valid(request, external_id)
        if fields.get("external_id") not in (None, named):
            raise ValidationError({"external_id": "This is another id than that of the path."})
        fields["external_id"] = named
        require_quota(request)
        [put] = put_memories(
            [fields], priority=outbox.INTERACTIVE, expected_version=expected_for_put(request)
        )
        row = queries.memory(MemoryLog.objects.defer("embedding"), put.id)
        return Response(
            serialize(row),
            status=status.HTTP_201_CREATED if put.created else status.HTTP_200_OK,
            headers={"Location": f"/memory-logs/{row.id}", **etag(row.version)},
        )

    @extend_schema(
        summary="Delete a memory by its external id",
        operation_id="external_memory_delete",
        parameters=[EXTERNAL_ID, TenantParameters, IF_MATCH],
        responses={204: None, 412: CHANGED},
    )
    def delete(self, request: Request, external_id: str) -> Response:
        row = self._visible(external_id, TenantParameters.of(request))
        services.delete_memory(row.id, expected_version=expected_version(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _visible(self, external_id: str, tenant: dict[str, Any], *, embedding: bool = False) -> MemoryLog:
        require(self.request, tenant["user_id"], tenant["project_id"])
        named = MemoryLog.objects.unexpired().with_external_id(
            tenant["user_id"], tenant["project_id"], [_valid(self.request, external_id)]
        )
        rows = access_of(self.request).visible(named if embedding else named.defer("embedding"))
        return queries.memory(rows, rows.only("id").get().id)


def _valid(request: Request, argument: str) -> str:
    """The id in the path as the client meant it. Raises ValidationError."""
    try:
        return str(ExternalId().run_validation(decoded(request, argument)))
    except ValidationError as error:
        raise ValidationError({"external_id": error.detail}) from error
