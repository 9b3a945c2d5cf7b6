"""The one connection to the Chroma server a process has, with a limit on how long any call may take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

DEPENDENCY = "chroma"
# A server that needs longer for this is left to the first event that needs it.
HEARTBEAT_SECONDS = 1.0

# By URL. Emptied in a forked child: what its parent opened must not be spoken on by two.
_clients: dict[str, "ClientAPI"] = {}
os.register_at_fork(after_in_child=_clients.clear)


def get_client() -> "ClientAPI":
    """The process's client, made on first use. Raises Unavailable when no Chroma server answers at CHROMA_URL."""
    url = settings.CHROMA_URL
    if url not in _clients:
        try:
            _clients[url] = connect(url, timeout=settings.CHROMA_TIMEOUT_SECONDS)
        except Exception as error:
            # Also when something else than Chroma answers there: no event is to blame for that.
            raise Unavailable(DEPENDENCY, f"{url}: {str(error) or repr(error)}") from error
    return _clients[url]


def load() -> None:
    """Import what speaks to Chroma, which takes most of a second, and connect where a server answers at once."""
    import chromadb.api.client  # noqa: F401

    try:
        direct = _is_loopback(urlsplit(settings.CHROMA_URL).hostname or "")
        heartbeat = f"{settings.CHROMA_URL.rstrip('/')}/api/v2/heartbeat"
        httpx.get(
            heartbeat, timeout=HEARTBEAT_SECONDS, trust_env=not direct, verify=heartbeat.startswith("https")
        )
    except httpx.TransportError as error:
        raise Unavailable(DEPENDENCY, f"{settings.CHROMA_URL}: {error}") from error
    get_client()


def connect(url: str, *, timeout: float) -> "ClientAPI":
    """A client of the server at `url`; `timeout` in seconds bounds every call, the constructor's own too.

    Raises what chromadb and httpx raise, ValueError for most.
    """
    # Imported here: it takes most of a second, and most commands never speak to Chroma.
    from chromadb.api.client import Client
    from chromadb.auth import UserIdentity
    from chromadb.config import Settings

    address = urlsplit(url)
    # Reading the certificates takes a while; http needs none.
    secure = address.scheme == "https"

    def bound(server: Any) -> None:
        # chromadb's HTTP client has no timeout; and a server on this machine is not asked for through a proxy.
        direct = _is_loopback(address.hostname or "")
        headers = server._session.headers  # noqa: SLF001
        session = Session(timeout=timeout, headers=headers, trust_env=not direct, verify=secure)
        server._session.close()  # noqa: SLF001
        server._session = session  # noqa: SLF001

    class BoundedClient(Client):
        # Before the first calls that its constructor makes, with two connections.
        def get_user_identity(self) -> UserIdentity:
            bound(self._server)
            return super().get_user_identity()

        def _validate_tenant_database(self, tenant: str, database: str) -> None:
            bound(self._admin_client._server)  # type: ignore[attr-defined]  # noqa: SLF001
            super()._validate_tenant_database(tenant, database)

    return BoundedClient(
        settings=Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=address.hostname,
            chroma_server_http_port=address.port or (443 if secure else 80),
            chroma_server_ssl_enabled=secure,
            chroma_server_ssl_verify=None if secure else False,
            anonymized_telemetry=False,
        )
    )


class Session(httpx.Client):
    """Lets go of what was sent as soon as it is answered."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = super().send(request, **options)
        if response.is_closed:
            # A response and its stream hold each other, and with them the request, megabytes of vectors, until the
            # garbage collector comes, which counts objects and not bytes.
            response.stream = httpx.ByteStream(b"")
        return response


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn "Chroma cannot answer now", however chromadb words it, into Unavailable. Other errors pass."""
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        if _says_unavailable(error):
            raise Unavailable(DEPENDENCY, f"{settings.CHROMA_URL}: {_words(error)}") from error
        raise


def _words(error: Exception) -> str:
    words = str(error) or repr(error)
    if "readonly database" in words:
        return f"{words}. Was its folder deleted while it ran? Then start Chroma again."
    return words


def _says_unavailable(error: Exception) -> bool:
    from chromadb.errors import ChromaError

    if isinstance(error, httpx.TransportError):
        return True
    if isinstance(error, ChromaError):
        # Its own storage fails: a full disk, a folder that was deleted beneath it.
        return error.code() in (429, 502, 503, 504) or "error returned from database" in str(error)
    cause = error.__cause__ or error.__context__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code in (429, 502, 503, 504)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
