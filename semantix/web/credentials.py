"""Check the credential of a request before its body is read.

The views check again what the credential opens. This check only keeps strangers from sending large bodies.
"""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated

from memories.api.authentication import CHALLENGE, SCHEMES, is_open
from memories.api.throttling import count_refusal
from memories.auth import api_keys

# The admin's login form comes from clients without a credential. It fits into what an unverified client may send.
ADMIN = "/admin/"


def require(scope: Any) -> None:
    """Raise NotAuthenticated or AuthenticationFailed where the key is missing or malformed. Reads no database."""
    if is_open() or scope["path"].startswith(ADMIN) or _session_key(scope):
        return
    key = _api_key(scope)
    if key is None:
        raise _challenging(NotAuthenticated())
    if not api_keys.is_well_formed(key):
        raise _challenging(AuthenticationFailed("This is not an API key. A key looks like prefix.secret."))


def verify(scope: Any) -> None:
    """Raise NotAuthenticated unless the key or the session exists. Reads the database: call it on a thread."""
    key = _api_key(scope)
    if is_open() or _is_logged_in(scope) or (key is not None and api_keys.holder(key) is not None):
        return
    # As in the views: keys cannot be tried without end. Raises Throttled.
    count_refusal(address_of(scope))
    raise _challenging(NotAuthenticated())


def address_of(scope: Any) -> str:
    return str((scope.get("client") or [""])[0])


def client_of(scope: Any) -> str:
    """A name for the sender: its credential, or else its address."""
    return _header(scope, b"authorization") or _session_key(scope) or address_of(scope)


def _api_key(scope: Any) -> str | None:
    scheme, _, key = _header(scope, b"authorization").partition(" ")
    return key.strip() if scheme.lower() in SCHEMES else None


def _session_key(scope: Any) -> str:
    return parse_cookie(_header(scope, b"cookie")).get(settings.SESSION_COOKIE_NAME, "")


def _is_logged_in(scope: Any) -> bool:
    key = _session_key(scope)
    if not key:
        return False
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return bool(get_user(request).is_authenticated)


def _header(scope: Any, wanted: bytes) -> str:
    return next((value.decode("latin1") for name, value in scope["headers"] if name == wanted), "")


def _challenging(error: APIException) -> APIException:
    """The error with the WWW-Authenticate header that a 401 needs."""
    error.auth_header = CHALLENGE  # type: ignore[attr-defined]  # as DRF does
    return error
