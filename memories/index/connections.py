"""Kept HTTP connections for the frequent calls to the Chroma server: queries, and writes of documents.

httpx takes 0.4 ms of processor time for each of them, http.client 0.1 ms.
"""

import http.client
import select
import ssl
from collections import deque
from contextlib import nullcontext, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

# More idle connections than threads that call Chroma at the same moment are of no use.
MAX_IDLE = 64


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Connections:
    """The connections of a process to one server. Any thread may use them."""

    def __init__(self, base_url: str, verify: ssl.SSLContext | bool) -> None:
        self._where = urlsplit(base_url)
        self._context = verify if isinstance(verify, ssl.SSLContext) else None
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=MAX_IDLE)

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        *,
        seconds: float | None,
        writes: bool = False,
    ) -> Answer:
        """Send a request and return the answer. `seconds` bounds each wait; None: nothing does.

        `writes`: the request changes something, and is sent once. Raises httpx.TransportError, of these ConnectError
        and ConnectTimeout where the request was not sent.
        """
        try:
            if kept := self._kept():
                # The server may close it at this moment. What changes nothing may be sent twice.
                with nullcontext() if writes else suppress(ConnectionError):
                    return self._exchange(kept, method, url, headers, body, seconds)
            return self._exchange(self._connected(seconds), method, url, headers, body, seconds)
        except (OSError, http.client.HTTPException) as error:
            raise _translated(error) from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        seconds: float | None,
    ) -> Answer:
        try:
            connection.sock.settimeout(seconds)
            connection.request(method.upper(), urlsplit(url).path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read())
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # the server did not ask to close it
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> http.client.HTTPConnection | None:
        """The connection that was used last and still is open."""
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if _is_open(kept):
                return kept
            kept.close()
        return None

    def _connected(self, seconds: float | None) -> http.client.HTTPConnection:
        """A new connection. Raises httpx.ConnectError, httpx.ConnectTimeout."""
        host, port = self._where.hostname or "", self._where.port
        if self._where.scheme == "https":
            new: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, context=self._context, timeout=seconds
            )
        else:
            new = http.client.HTTPConnection(host, port, timeout=seconds)
        try:
            new.connect()
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error) or "timed out") from error
        except OSError as error:  # no such host, no route, nobody listens, a certificate that is refused
            raise httpx.ConnectError(str(error)) from error
        return new


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has sent nothing since the last answer. What it sends then is the end of the connection."""
    arrivals = select.poll()
    arrivals.register(connection.sock, select.POLLIN)
    return not arrivals.poll(0)


def _translated(error: OSError | http.client.HTTPException) -> httpx.TransportError:
    match error:
        case TimeoutError():
            return httpx.ReadTimeout(str(error) or "timed out")
        case OSError():
            return httpx.ReadError(str(error))
    return httpx.RemoteProtocolError(f"{type(error).__name__}: {error}")
