"""Connections of clients that are slow, silent, too many, or send heads without end."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from semantix.web.protocol import HEAD_BYTES, HEADERS
from tests.support.processes import environment
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

BEGIN = b"GET /memory-logs HTTP/1.1\r\nHost: localhost\r\n"
# Far above every deadline of the server in these tests.
PATIENCE = 60


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[WebServer]:
    with WebServer(**environment() | {"WEB_HEAD_SECONDS": "1", "WEB_BODY_SECONDS": "1"}) as server:
        yield server


def connect(server: WebServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def answer(client: socket.socket) -> http.client.HTTPResponse:
    found = http.client.HTTPResponse(client)
    found.begin()
    return found


def send_all(client: socket.socket, sent: bytes) -> None:
    """Send it in small pieces, so that the parser has to join them, as far as the server takes them."""
    try:
        for start in range(0, len(sent), 65_536):
            client.sendall(sent[start : start + 65_536])
    except OSError:
        pass


def is_closed(client: socket.socket) -> bool:
    """Wait until the server has closed the connection."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "head",
    [
        BEGIN + b"X: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        BEGIN + b"".join(b"x%d: y\r\n" % number for number in range(HEADERS)) + b"\r\n",
        BEGIN + b"X: " + b"x" * 5_000_000,
        BEGIN + b"x" * 5_000_000,
        b"GET /" + b"x" * 300_000,
    ],
    ids=[
        "a long header",
        "many headers",
        "a header without end",
        "a name without end",
        "an address without end",
    ],
)
def test_a_head_that_is_too_large_is_answered_431_and_the_connection_closed(
    server: WebServer, head: bytes
) -> None:
    with connect(server) as client:
        send_all(client, head)
        found = answer(client)
        assert found.status == 431
        assert found.headers["Content-Type"] == "application/problem+json"
        assert json.load(found)["type"] == "urn:semantix:problem:head-too-large"
        assert is_closed(client)


def test_a_head_of_the_allowed_size_is_taken(server: WebServer) -> None:
    filler = b"".join(b"x%02d: %s\r\n" % (number, b"y" * 600) for number in range(HEADERS - 1))
    with connect(server) as client:
        client.sendall(BEGIN + filler + b"\r\n")
        assert answer(client).status == 200


def test_trailers_after_a_chunked_body_have_the_same_limits(server: WebServer) -> None:
    begin = (
        b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    )
    with connect(server) as client:
        send_all(client, begin + b"X: " + b"x" * 5_000_000)
        assert answer(client).status in (400, 431)
        assert is_closed(client)


@pytest.mark.parametrize("sent", [b"", BEGIN, b"\r\n"], ids=["nothing", "half a head", "an empty line"])
def test_a_head_that_does_not_arrive_in_time_is_answered_408_and_the_connection_closed(
    server: WebServer, sent: bytes
) -> None:
    with connect(server) as client:
        client.sendall(sent)
        assert answer(client).status == 408
        assert is_closed(client)


def test_a_head_that_arrives_byte_by_byte_gets_no_more_time(server: WebServer) -> None:
    with connect(server) as client:
        client.setblocking(False)
        sent = iter(BEGIN + b"X: " + b"x" * 100_000)

        def is_refused() -> bool:
            try:
                client.send(bytes([next(sent)]))
                return client.recv(12) == b"HTTP/1.1 408"
            except BlockingIOError:
                return False

        wait_until(is_refused)


def test_the_second_head_of_a_connection_has_its_own_deadline(server: WebServer) -> None:
    with connect(server) as client:
        client.sendall(BEGIN + b"\r\n")
        first = answer(client)
        first.read()
        assert first.status == 200
        client.sendall(BEGIN)
        assert answer(client).status == 408


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
    ids=["with a length", "chunked"],
)
def test_a_body_that_stops_arriving_is_answered_408_and_the_connection_closed(
    server: WebServer, head: bytes
) -> None:
    with connect(server) as client:
        client.sendall(b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\n" + head)
        found = answer(client)
        assert found.status == 408
        assert json.load(found)["type"] == "urn:semantix:problem:request-timeout"
        assert is_closed(client)


def test_a_body_that_arrives_steadily_may_take_longer_than_the_first_seconds(server: WebServer) -> None:
    """Half a second for each 16 KiB: twice as slow as allowed would be 4 s, and the deadline without progress 1 s."""
    body = b" " * (16 * 1024 * 6)
    with connect(server) as client:
        client.sendall(b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n" % len(body))
        begun = time.monotonic()
        for start in range(0, len(body), 16 * 1024):
            wait_until(lambda at=start: time.monotonic() > begun + at / (16 * 1024) * 0.5)
            client.sendall(body[start : start + 16 * 1024])
        assert answer(client).status == 400


def test_slow_clients_hold_up_nobody_and_are_gone_in_the_end(server: WebServer) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(200)]
        for client in clients:
            client.sendall(b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert httpx.get(f"{server.url}/memory-logs", timeout=PATIENCE).status_code == 200
        with ThreadPoolExecutor(20) as pool:
            assert all(pool.map(is_closed, clients))


def test_a_connection_stays_open_between_requests_for_the_keep_alive_time(django_db_setup: None) -> None:
    settings = {"WEB_HEAD_SECONDS": "1", "WEB_KEEP_ALIVE_SECONDS": "3"}
    with WebServer(**environment() | settings) as server, connect(server) as client:
        begun = time.monotonic()
        client.sendall(BEGIN + b"\r\n")
        answer(client).read()
        assert client.recv(1) == b""
        assert time.monotonic() - begun > 2


def test_keep_alive_is_longer_than_that_of_common_proxies() -> None:
    from django.conf import settings

    assert settings.WEB_KEEP_ALIVE_SECONDS == 75


def test_beyond_the_limit_the_connection_that_waited_longest_makes_room(django_db_setup: None) -> None:
    with (
        WebServer(**environment() | {"WEB_CONNECTIONS": "3"}) as server,
        connect(server) as oldest,
        connect(server) as second,
    ):
        for client in (oldest, second):
            client.sendall(BEGIN + b"\r\n")
            answer(client).read()
        with connect(server) as third, connect(server) as fourth:
            for client in (third, fourth):
                client.sendall(BEGIN + b"\r\n")
                assert answer(client).status == 200
            assert is_closed(oldest)


def test_where_all_connections_are_in_use_a_new_one_is_answered_503(django_db_setup: None) -> None:
    busy = b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    with (
        WebServer(**environment() | {"WEB_CONNECTIONS": "2", "WEB_BODY_SECONDS": "60"}) as server,
        ExitStack() as stack,
    ):

        def is_full() -> bool:
            client = stack.enter_context(connect(server))
            client.sendall(busy)
            client.settimeout(0.5)
            try:
                found = answer(client)
            except TimeoutError:
                return False
            return found.status == 503 and found.headers["Retry-After"] == "1"

        wait_until(is_full)
