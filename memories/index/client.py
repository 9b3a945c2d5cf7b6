"""The process's connection to the Chroma server, with a time limit on every call."""

import os
import random
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
from django.conf import settings

from memories.index import wire
from memories.index.connections import Connections
from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

DEPENDENCY = "chroma"
# A slower answer ends the warm-up. The first event that needs Chroma then connects.
HEARTBEAT_SECONDS = 1.0

BUSY = {429, 502, 503, 504}
# How Chroma reports an error of its SQLite database.
SQLITE_ERROR = re.compile(r"error returned from database: \(code: (\d+)\)")
# The SQLite result codes that one statement can cause: a wrong or too large statement, too large a value, a constraint,
# a wrong type, a wrong parameter. The other codes are about the database: a full disk, a deleted file, a lock.
CAUSED_BY_STATEMENT = {1, 18, 19, 20, 25}
# What Chroma says without a code when it cannot read or write its own files, for example because the folder is gone. A
# document that it cannot write is noticed before (CollectionBlocked).
STORE_FAILURES = ("Failed to get segments", "Error in compaction", "request to compactor")

# A call that the server refuses for this moment only is tried again after a pause that grows.
TRIES, FIRST_PAUSE = 4, 0.05
# Chroma reads a collection first and its segments then. This is what it says of one that is deleted between the two; to
# the next call it says that there is none.
BEING_DELETED = b"Missing metadata segment", b"Missing vector segment"

# The ends of the addresses of the frequent calls, and what an answer's request is where no error tells it.
READS, WRITES = ("/query", "/get", "/count"), ("/upsert", "/update", "/delete")
ANSWERED = httpx.Request("POST", "/")

# By address. A forked child empties it: two processes must not share one connection.
_clients: dict[tuple[str, str, str], "ClientAPI"] = {}
os.register_at_fork(after_in_child=_clients.clear)


def get_client() -> "ClientAPI":
    """Return the process's client, made on first use.

    Raises Unavailable when no Chroma server answers at CHROMA_URL.
    """
    key = address()
    if key not in _clients:
        try:
            _clients[key] = connect(settings.CHROMA_URL, timeout=settings.CHROMA_TIMEOUT_SECONDS)
        except Exception as error:
            # Unavailable also when another kind of server answers there: no event caused that.
            raise Unavailable(DEPENDENCY, f"{settings.CHROMA_URL}: {_reason(error)}") from error
    return _clients[key]


def address() -> tuple[str, str, str]:
    """The server, and the tenant and database of it that hold the collections."""
    return settings.CHROMA_URL, settings.CHROMA_TENANT, settings.CHROMA_DATABASE


def headers() -> dict[str, str]:
    """The headers that each request to the server carries: CHROMA_HEADERS and CHROMA_API_KEY."""
    key = {"X-Chroma-Token": settings.CHROMA_API_KEY} if settings.CHROMA_API_KEY else {}
    return {**settings.CHROMA_HEADERS, **key}


def certificates() -> ssl.SSLContext | bool:
    """What the server's certificate is checked against. Loading it is slow, and http needs none."""
    if urlsplit(settings.CHROMA_URL).scheme != "https":
        return False
    return ssl.create_default_context(cafile=settings.CHROMA_CA_FILE or None)


def load() -> None:
    """Import the client library, which takes most of a second, and connect if the server answers at once.

    Raises Unavailable.
    """
    import chromadb.api.client  # noqa: F401

    try:
        httpx.get(
            f"{settings.CHROMA_URL.rstrip('/')}/api/v2/heartbeat",
            headers=headers(),
            timeout=HEARTBEAT_SECONDS,
            trust_env=not _is_loopback(urlsplit(settings.CHROMA_URL).hostname or ""),
            verify=certificates(),
        )
    except httpx.TransportError as error:
        raise Unavailable(DEPENDENCY, f"{settings.CHROMA_URL}: {error}") from error
    get_client()


def connect(url: str, *, timeout: float) -> "ClientAPI":
    """Return a client of the server at `url`. `timeout`, in seconds, bounds every call, including the constructor's.

    Raises what chromadb and httpx raise, mostly ValueError.
    """
    # Imported here: it takes most of a second, and most commands never call Chroma.
    from chromadb.api.client import Client
    from chromadb.auth import UserIdentity
    from chromadb.config import Settings

    where = urlsplit(url)
    secure = where.scheme == "https"
    verify = certificates() if secure else False
    sessions: list[Session] = []

    def add_timeout(server: Any) -> None:
        # chromadb's HTTP client has no timeout. A server on this machine is not reached through a proxy.
        direct = _is_loopback(where.hostname or "")
        own = {**server._session.headers, **headers()}  # noqa: SLF001
        session = Session(url, timeout=timeout, headers=own, trust_env=not direct, verify=verify)
        sessions.append(session)
        server._session.close()  # noqa: SLF001
        server._session = session  # noqa: SLF001
        wire.write_arrays(server)

    class BoundedClient(Client):
        # Both methods run in the constructor, before its first call over each of its two connections.
        def get_user_identity(self) -> UserIdentity:
            add_timeout(self._server)
            return super().get_user_identity()

        def _validate_tenant_database(self, tenant: str, database: str) -> None:
            add_timeout(self._admin_client._server)  # type: ignore[attr-defined]  # noqa: SLF001
            super()._validate_tenant_database(tenant, database)

    try:
        return BoundedClient(
            tenant=settings.CHROMA_TENANT,
            database=settings.CHROMA_DATABASE,
            settings=Settings(
                chroma_api_impl="chromadb.api.fastapi.FastAPI",
                chroma_server_host=where.hostname,
                chroma_server_http_port=where.port or (443 if secure else 80),
                chroma_server_ssl_enabled=secure,
                chroma_server_ssl_verify=None if secure else False,
                anonymized_telemetry=False,
            ),
        )
    except BaseException:
        for session in sessions:
            session.close()
        raise


# Seconds that bound the calls of this thread or task in place of CHROMA_TIMEOUT_SECONDS.
_seconds: ContextVar[float | None] = ContextVar("chroma_seconds", default=None)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Give calls to Chroma at most so many seconds each."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


class Session(httpx.Client):
    """An HTTP client that releases the request's body as soon as the answer is read.

    The frequent calls go over connections with less overhead, except through a proxy.
    """

    def __init__(
        self, base_url: str, *, trust_env: bool, verify: ssl.SSLContext | bool, **options: Any
    ) -> None:
        super().__init__(trust_env=trust_env, verify=verify, **options)
        through_proxy = trust_env and getproxies()
        self._connections = None if through_proxy else Connections(base_url, verify)
        self._own_headers = dict(self.headers)

    def request(self, method: str, url: Any, *, content: Any = None, **options: Any) -> httpx.Response:
        if (
            self._connections
            and not options
            and str(url).endswith(READS + WRITES)
            and not any(self.event_hooks.values())
        ):
            response = self._ask(self._connections, method, str(url), content)
            if not _is_refused_for_now(response):
                return response
        return super().request(method, url, content=content, **options)

    def close(self) -> None:
        super().close()
        if self._connections:
            self._connections.close()

    def _ask(self, connections: Connections, method: str, url: str, body: bytes | None) -> httpx.Response:
        seconds = _seconds.get() or self.timeout.read
        writes = url.endswith(WRITES)
        answer = connections.ask(method, url, self._own_headers, body, seconds=seconds, writes=writes)
        request = httpx.Request(method, url) if answer.status >= httpx.codes.BAD_REQUEST else ANSWERED
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        if seconds := _seconds.get():
            request.extensions["timeout"] = httpx.Timeout(seconds).as_dict()
        response = self._send(request, **options)
        if response.is_closed:
            # A response and its stream refer to each other and to the request, which holds megabytes of vectors.
            # Only the garbage collector frees such a cycle, and it counts objects, not bytes.
            response.stream = httpx.ByteStream(b"")
        return response

    def _send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        for tried in range(TRIES - 1):
            response = super().send(request, **options)
            if not _is_refused_for_now(response):
                return response
            response.close()
            time.sleep(FIRST_PAUSE * 2**tried * random.uniform(0.5, 1.5))
        return super().send(request, **options)


def _is_refused_for_now(response: httpx.Response) -> bool:
    """Tell whether the same call gets another answer in a moment: it was one too many, or met a deletion."""
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return True
    if not response.is_error:
        return False
    content = response.read()
    return any(message in content for message in BEING_DELETED)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise Unavailable for every error that means "Chroma cannot answer now". Other errors pass unchanged."""
    try:
        yield
    except Unavailable:
        raise
    except Exception as error:
        if _is_unavailable(error):
            raise Unavailable(DEPENDENCY, f"{settings.CHROMA_URL}: {_message(error)}") from error
        raise


def _reason(error: Exception) -> str:
    """Why no client could be made. A refused key says so, which chromadb's own message does not."""
    text = str(error) or repr(error)
    refused = re.search(r"\b(401|403)\b|Unauthorized|Forbidden|permission", text, re.IGNORECASE)
    return f"{text} (the server refuses CHROMA_API_KEY or CHROMA_HEADERS)" if refused else text


def _message(error: Exception) -> str:
    message = str(error) or repr(error)
    if "readonly database" in message:
        return f"{message}. If Chroma's folder was deleted while Chroma ran, restart Chroma."
    return message


def _is_unavailable(error: Exception) -> bool:
    from chromadb.errors import ChromaError

    if isinstance(error, httpx.TransportError):
        return True
    if isinstance(error, ChromaError):
        return error.code() in BUSY or _is_storage_failure(str(error))
    cause = error.__cause__ or error.__context__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code in BUSY


def _is_storage_failure(message: str) -> bool:
    """Tell whether Chroma's own storage fails: its disk is full, or its folder was deleted.

    A statement that is wrong or too large is no such failure: one tenant's query must not stop the others.
    """
    found = SQLITE_ERROR.search(message)
    if found is None:
        return any(failure in message for failure in STORE_FAILURES)
    # The low byte is the primary result code.
    return int(found[1]) & 0xFF not in CAUSED_BY_STATEMENT or "no such table" in message


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
