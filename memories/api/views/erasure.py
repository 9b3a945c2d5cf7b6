"""`/erasures`: forget a user, a project, memories or conversations, and show the receipt."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from memories.api.authentication import MAY_NOT_ERASE, access_of, require
from memories.api.examples import ERASE
from memories.api.openapi import LOCATION, page_of
from memories.api.pagination import NewestFirst
from memories.api.parameters import PageParameters
from memories.api.serializers.erasure import ErasureInput, ErasureReceipt
from memories.api.tenant_defaults import with_tenant
from memories.erasure.request import request as request_erasure
from memories.models import APIKey, Erasure


class Erasures(GenericAPIView[Any]):
    """Forget in every store. The cluster does it, verifies it, and keeps a receipt without words."""

    serializer_class = ErasureInput

    @extend_schema(
        summary="Erase a user, a project, memories or conversations",
        operation_id="erasures_create",
        examples=[ERASE],
        parameters=[LOCATION],
        responses={202: ErasureReceipt},
    )
    def post(self, request: Request) -> Response:
        given = ErasureInput(data=with_tenant(request, request.data))
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        access = access_of(request)
        # A key to one project never erases the user's others.
        asked.setdefault("project_id", access.project_id or "")
        require(request, asked["user_id"], asked["project_id"] or None)
        if not access.may_erase:
            raise PermissionDenied(MAY_NOT_ERASE)
        erasure = request_erasure(**asked, requested_by=_who(request))
        return Response(
            ErasureReceipt(erasure).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"/erasures/{erasure.pk}"},
        )

    @extend_schema(
        summary="Page through receipts, the newest first",
        operation_id="erasures_list",
        parameters=[PageParameters],
        responses={200: page_of(ErasureReceipt, "ErasurePage")},
    )
    def get(self, request: Request) -> Response:
        PageParameters.of(request)
        paginator = NewestFirst()
        rows = access_of(request).visible(Erasure.objects.all())
        page = paginator.paginate_queryset(rows, request, view=self) or []
        return paginator.get_paginated_response(ErasureReceipt(page, many=True).data)


class ErasureDetail(GenericAPIView[Any]):
    """The receipt: its status, what was removed from each store, and whether every store was asked again."""

    serializer_class = ErasureReceipt

    @extend_schema(
        summary="Read a receipt", operation_id="erasures_retrieve", responses={200: ErasureReceipt}
    )
    def get(self, request: Request, pk: int) -> Response:
        rows = access_of(request).visible(Erasure.objects.all())
        return Response(ErasureReceipt(get_object_or_404(rows, pk=pk)).data)


def _who(request: Request) -> str:
    if isinstance(request.auth, APIKey):
        return f"API key {request.auth.prefix}"
    return f"user {request.user}" if request.user else "anybody: the API is open"
