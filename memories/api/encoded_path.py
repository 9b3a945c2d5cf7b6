"""An id with a slash in it, sent as `%2F`, is one segment of the path.

Servers decode the path before Django resolves it, and `/conversations/a%2Fb` then looks like three segments. The
middleware reads the path as it was sent. Where `%2F` is in it, the path that Django resolves keeps `/` and `%` of a
segment encoded, and a view decodes its argument with `decoded`.
"""

from collections.abc import Callable
from typing import cast
from urllib.parse import quote, unquote, urlsplit

from django.http import HttpRequest
from django.http.response import HttpResponseBase

MARK = "semantix.path_is_encoded"


def keep_encoded_slashes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def kept(request: HttpRequest) -> HttpResponseBase:
        raw = _raw_path(request)
        if "%2f" in raw.lower():
            prefix = quote(request.META.get("SCRIPT_NAME") or "")
            request.path_info = "/".join(map(_segment, raw.removeprefix(prefix).split("/")))
            request.META[MARK] = True
        return get_response(request)

    return kept


def decoded(request: HttpRequest, argument: str) -> str:
    """The argument of a view as the client meant it."""
    return argument.replace("%2F", "/").replace("%25", "%") if request.META.get(MARK) else argument


def _segment(raw: str) -> str:
    return unquote(raw).replace("%", "%25").replace("/", "%2F")


def _raw_path(request: HttpRequest) -> str:
    """The path before it was decoded: of ASGI, or of the WSGI servers that tell it; otherwise ""."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        return cast(bytes, scope.get("raw_path") or b"").decode("latin-1")
    return urlsplit(request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or "").path
