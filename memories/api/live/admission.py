"""Who may follow what: the same keys, scopes and answers as the rest of the API, for asynchronous views."""

from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, ParseError, PermissionDenied

from memories.api.authentication import SCHEMES, is_open
from memories.auth import api_keys
from memories.auth.access import EVERYTHING, Access


async def admit(authorization: str, user: Any, wanted: Mapping[str, str]) -> Access:
    """What the caller may see, narrowed to the user_id and project_id in `wanted`. Raises as DRF does.

    `user` is the session's: a superuser sees everything, as in the admin.
    """
    return narrowed(await _access(authorization, user), wanted)


async def still_admitted(authorization: str) -> bool:
    """Whether the key is still good: asked now and then on a connection that stays open."""
    scheme, _, key = authorization.partition(" ")
    return scheme.lower() not in SCHEMES or await _holder(key) is not None


async def _access(authorization: str, user: Any) -> Access:
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() in SCHEMES:
        row = await _holder(key)
        if row is None:
            raise AuthenticationFailed(
                "This API key is unknown, revoked or expired. Ask the operator for another."
            )
        return Access.of(row)
    if is_open() or getattr(user, "is_superuser", False):
        return EVERYTHING
    raise NotAuthenticated("An API key is needed: Authorization: Bearer <key>.")


def narrowed(access: Access, wanted: Mapping[str, str]) -> Access:
    """Refuses another tenant with the same words whether it exists or not."""
    user_id, project_id = wanted.get("user_id"), wanted.get("project_id")
    if project_id is not None and user_id is None and access.user_id is None:
        raise ParseError("project_id needs a user_id beside it.")
    asked = Access(user_id or access.user_id, project_id or access.project_id)
    if not access.covers(asked.user_id or "", asked.project_id):
        raise PermissionDenied("This API key is for another user or project.")
    return asked


@sync_to_async
def _holder(key: str) -> Any:
    close_old_connections()
    return api_keys.holder(key.strip())
