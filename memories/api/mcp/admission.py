"""Who may use /mcp, and for which tenant: checked at each request, because a key may be revoked between two."""

import re
from typing import Any
from urllib.parse import unquote

import httpx
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from rest_framework.exceptions import MethodNotAllowed, NotFound, ParseError, PermissionDenied

from memories.api.live import origin
from memories.api.live.admission import Admission, Sender, admit
from memories.api.mcp.caller import Caller
from memories.tenants import Tenant

# /mcp, or /mcp/{user_id}/{project_id}.
PATH = re.compile(r"/mcp(?:/([^/]+)/([^/]+))?/?")
# What goes on to the REST API with the caller's requests.
FORWARDED = ("authorization", "x-request-id", "traceparent", "host")


async def caller_of(scope: Any, rest: Any) -> Caller:
    """The sender of a request. `rest` is the application that its tools call.

    Raises APIException: for a page of another site, another method, an address that names no tenant, and a bad key.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    _refuse_pages(headers)
    _require_https(scope)
    if scope["method"] != "POST":
        raise MethodNotAllowed(
            scope["method"], "This is the address of an MCP server: MCP clients send POST."
        )
    client = scope.get("client") or ("127.0.0.1", 0)
    admission = await admit(Sender(headers.get("authorization", ""), None, client[0]), _named(scope))
    return Caller(
        tenant=_tenant(admission),
        # Where no key is needed, no key says that its holder may erase.
        may_erase=admission.access.may_erase and bool(admission.owner),
        throttled_as=admission.owner.removeprefix("key ") or client[0],
        headers={name: headers[name] for name in FORWARDED if name in headers},
        scheme=scope.get("scheme", "http"),
        transport=httpx.ASGITransport(rest, client=client),
    )


def _refuse_pages(headers: dict[str, str]) -> None:
    """A page may reach this server under a name of its own (DNS rebinding): the browser sends that name as Host."""
    domain, _port = split_domain_port(headers.get("host", ""))
    if not validate_host(domain, settings.ALLOWED_HOSTS):
        raise ParseError("The header Host names no host of this service. The operator sets ALLOWED_HOSTS.")
    if origin.refuses(headers):
        raise PermissionDenied(
            "This request comes from a page of another site. The operator allows its origin with "
            "CSRF_TRUSTED_ORIGINS."
        )


def _require_https(scope: Any) -> None:
    if settings.HTTPS and scope.get("scheme") != "https":
        raise PermissionDenied("This service answers over https only. Connect to its https address.")


def _named(scope: Any) -> dict[str, str]:
    """The tenant in the address, as far as there is one."""
    found = PATH.fullmatch(scope.get("raw_path", scope["path"].encode()).decode("latin-1"))
    if found is None:
        raise NotFound(
            "Connect to /mcp, or to /mcp/{user_id}/{project_id}. An id with a slash has %2F in its place."
        )
    try:
        parts = [unquote(part, errors="strict") for part in found.groups() if part]
    except UnicodeDecodeError:
        raise ParseError("The ids in the address are not UTF-8, encoded with %.") from None
    return dict(zip(("user_id", "project_id"), parts, strict=False))


def _tenant(admission: Admission) -> Tenant:
    access = admission.access
    if access.user_id is None or access.project_id is None:
        raise PermissionDenied(
            "Whose memories? Connect to /mcp/{user_id}/{project_id}, or with an API key of one project."
        )
    return Tenant(access.user_id, access.project_id)
