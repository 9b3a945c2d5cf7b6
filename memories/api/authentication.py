"""Who asks, and what of it they may see: a key in the Authorization header, or the admin's session."""

from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request, is_form_media_type

from memories.auth import api_keys
from memories.auth.access import EVERYTHING, Access
from memories.models import APIKey

SCHEMES = ("bearer", "api-key")


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`, or `Api-Key <key>`; the key's row is `request.auth`."""

    def authenticate(self, request: Request) -> tuple[None, APIKey] | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in SCHEMES:
            return None
        row = api_keys.holder(key.strip())
        if row is None:
            raise AuthenticationFailed(
                "This API key is unknown, revoked or expired. Ask the operator for another."
            )
        return None, row

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="semantix"'


class AdminSession(SessionAuthentication):
    """Superusers who entered the admin browse the API, too: they can see every memory there anyway."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        return found if found and found[0].is_superuser else None


class KeyRequired(BasePermission):
    """A key or an admin's session, unless SEMANTIX_AUTH is open."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_open() or request.successful_authenticator is not None


class FormsCarryToken(BasePermission):
    """A form of HTML must be one of ours: any page could send one to a service on the reader's own machine."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if is_form_media_type(request.content_type):
            self._require_token(request)
        return True

    @staticmethod
    def _require_token(request: Request) -> None:
        try:
            AdminSession().enforce_csrf(request)
        except PermissionDenied as error:
            # Most who read this forgot the header: curl and others call a body a form unless told otherwise.
            raise PermissionDenied(
                f"A form needs the token of its page ({error.detail}). "
                "A program sends JSON, with the header Content-Type: application/json."
            ) from error


def is_open() -> bool:
    return bool(settings.SEMANTIX_AUTH == "open")


def access_of(request: Request) -> Access:
    """What the caller may see. Every view asks: rows through `visible()`, a named tenant through `require()`."""
    return Access.of(request.auth) if isinstance(request.auth, APIKey) else EVERYTHING


def require(request: Request, user_id: str | None, project_id: str | None = None) -> None:
    """Refuse a request that names another tenant. The answer is the same whether that tenant exists or not."""
    access = access_of(request)
    if not access.covers(user_id, project_id):
        allowed = f"user_id {access.user_id!r}" + (
            f", project_id {access.project_id!r}" if access.project_id else ""
        )
        raise PermissionDenied(f"This API key is for {allowed} only.")
