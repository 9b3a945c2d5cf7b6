"""Authentication by an API key or by the admin's session, and the tenants that a request may see."""

from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, UnsupportedMediaType
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request, is_form_media_type

from memories.api.parsers import JSON_NEEDED
from memories.auth import api_keys
from memories.auth.access import EVERYTHING, Access
from memories.models import APIKey

SCHEMES = ("bearer", "api-key")
# The WWW-Authenticate header of a 401.
CHALLENGE = 'Bearer realm="semantix"'
MAY_NOT_ERASE = (
    "This API key may not erase. The operator makes one that may: manage.py create_api_key --may-erase."
)
REFUSED_KEY = (
    "This API key is unknown, revoked or expired. Ask the operator for another: manage.py create_api_key --user-id "
    "USER."
)


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>` or `Api-Key <key>`. `request.auth` is then the row of the key."""

    def authenticate(self, request: Request) -> tuple[None, APIKey] | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in SCHEMES:
            return None
        row = api_keys.holder(key.strip())
        if row is None:
            raise AuthenticationFailed(REFUSED_KEY)
        return None, row

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class AdminSession(SessionAuthentication):
    """The session of a superuser who is logged in to the admin, where every memory is visible anyway."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        return found if found and found[0].is_superuser else None


class KeyRequired(BasePermission):
    """Requires an API key or an admin session, unless SEMANTIX_AUTH is open."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_open() or request.successful_authenticator is not None


class FormsCarryToken(BasePermission):
    """Takes a form only from a page of this service, with its CSRF token.

    Any website could send a form to a service on its visitor's machine. A program has no page, so it gets 415: the
    usual cause is a missing header, because curl -d declares a body as a form by default.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if is_form_media_type(request.content_type):
            if not isinstance(request.accepted_renderer, BrowsableAPIRenderer) or _is_compressed(request):
                raise UnsupportedMediaType("", f"Only the pages of this service send forms. {JSON_NEEDED}")
            self._require_token(request)
        return True

    @staticmethod
    def _require_token(request: Request) -> None:
        try:
            AdminSession().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(
                f"A form needs the CSRF token of its page ({error.detail}). "
                "A program sends JSON with the header Content-Type: application/json."
            ) from error


def _is_compressed(request: Request) -> bool:
    return bool(request.headers.get("Content-Encoding"))


def is_open() -> bool:
    """Whether requests need no API key (SEMANTIX_AUTH=open)."""
    return bool(settings.SEMANTIX_AUTH == "open")


def access_of(request: Request) -> Access:
    """The tenants that the caller may see. A view filters its rows with `visible()`."""
    return Access.of(request.auth) if isinstance(request.auth, APIKey) else EVERYTHING


def require(request: Request, user_id: str | None, project_id: str | None = None) -> None:
    """Refuse a request that names a tenant outside its key.

    Raises PermissionDenied with the same text whether that tenant exists or not.
    """
    access = access_of(request)
    if not access.covers(user_id, project_id):
        allowed = f"user_id {access.user_id!r}" + (
            f", project_id {access.project_id!r}" if access.project_id else ""
        )
        raise PermissionDenied(f"This API key is for {allowed} only.")
