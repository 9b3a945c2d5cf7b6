"""Which pages may open a WebSocket. A browser sends the cookies of the admin with it, whichever site's page asks."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

DEFAULT_PORTS = {"http": "80", "https": "443"}


def is_allowed(origin: str, host: str) -> bool:
    """Whether a page of `origin` may talk to `host` (the two headers).

    The page comes from this service: the same host and port, and the host is one of ALLOWED_HOSTS. Or its origin is
    one of CSRF_TRUSTED_ORIGINS. Another port of the same host is another program.
    """
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    page = urlsplit(origin)
    default = DEFAULT_PORTS.get(page.scheme)
    domain, port = split_domain_port(host)
    same = (page.hostname or "", str(page.port or default)) == (domain.strip("[]"), port or default)
    return same and validate_host(domain, settings.ALLOWED_HOSTS)


def refuses(headers: Mapping[str, str]) -> bool:
    """Whether the headers are of a page that may not open a socket. A program sends no Origin."""
    return "origin" in headers and not is_allowed(headers["origin"], headers.get("host", ""))
