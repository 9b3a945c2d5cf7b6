"""Request bodies over a real connection: too large, chunked, cut off."""

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from memories.models import MemoryLog
from tests.support.keys import memory, new_key, new_session
from tests.support.processes import environment
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[WebServer]:
    with WebServer(**environment() | {"MAX_BODY_BYTES": "100000"}) as server:
        yield server


def test_a_body_that_is_too_large_is_answered_413_without_a_reset(server: WebServer) -> None:
    for size in (200_000, 5_000_000):
        answer = httpx.post(
            f"{server.url}/memory-logs", json=memory("alice", "web", task="x" * size), timeout=60
        )
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert httpx.post(f"{server.url}/memory-logs", json=memory("alice", "web"), timeout=60).status_code == 201


def test_a_chunked_body_that_is_too_large_is_answered_413(server: WebServer) -> None:
    headers = {"Content-Type": "application/json"}
    large = iter([b'"', *[b"x" * 50_000] * 100, b'"'])

    assert (
        httpx.post(f"{server.url}/memory-logs", content=large, headers=headers, timeout=60).status_code == 413
    )


def test_a_memory_sent_in_chunks_is_stored(server: WebServer) -> None:
    text = json.dumps(memory("alice", "web")).encode()
    chunks = (text[start : start + 10] for start in range(0, len(text), 10))
    headers = {"Content-Type": "application/json"}

    answer = httpx.post(f"{server.url}/memory-logs", content=chunks, headers=headers, timeout=60)

    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.status_code == 201, answer.text


def test_a_body_that_ends_early_stores_nothing_and_blocks_nobody(server: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 500\r\n\r\n{"user_id": "alice", '
        )
    assert httpx.post(f"{server.url}/memory-logs", json=memory("alice", "web"), timeout=60).status_code == 201
    assert MemoryLog.objects.count() == 1


def test_a_request_that_is_not_http_is_refused_with_a_problem(server: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"Hello\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert json.load(answer)["type"] == "urn:semantix:problem:bad-request"


@pytest.mark.parametrize("chunked", [False, True])
def test_urllib_reads_the_413_of_a_body_that_is_too_large(server: WebServer, chunked: bool) -> None:
    """It sends the whole body before it reads: a server that closes at once makes it fail with a reset."""
    body = b"x" * 50_000_000
    request = urllib.request.Request(
        f"{server.url}/memory-logs",
        data=iter([body]) if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 413
    assert json.load(refused.value)["type"] == "urn:semantix:problem:too-large"


def test_a_client_that_asks_first_sends_no_body_that_would_be_refused(server: WebServer) -> None:
    head = b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(head + b"Content-Length: 200000\r\n\r\n")
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413")
        while client.recv(65_536):
            pass


def test_streams_have_the_same_limit(server: WebServer) -> None:
    answer = httpx.post(f"{server.url}/memory-logs/events", content=b"x" * 200_000, timeout=60)
    assert answer.status_code == 413


def test_all_bodies_together_have_a_limit(django_db_setup: None) -> None:
    with WebServer(**environment() | {"WEB_BODIES_BYTES": "400000", "WEB_BODY_SECONDS": "60"}) as server:
        large = httpx.post(f"{server.url}/memory-logs", json=memory("a", "b", task="x" * 90_000), timeout=60)
        assert large.status_code == 400  # the task is too long, but the body was read
        head = b"POST /memory-logs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(head + b"x" * 98_000)

            def is_refused() -> bool:
                answer = httpx.post(f"{server.url}/memory-logs", content=b"x" * 50_000, timeout=60)
                return answer.status_code == 503 and answer.headers["Retry-After"] == "1"

            wait_until(is_refused)
        wait_until(lambda: not is_refused())


@pytest.fixture(scope="module")
def closed(django_db_setup: None) -> Iterator[WebServer]:
    """A server that requires keys."""
    with WebServer(**environment() | {"SEMANTIX_AUTH": "required"}) as server:
        yield server


HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"


def refusal_of(
    server: WebServer, length: int, *headers: str, path: str = "/memory-logs"
) -> dict[str, Any] | None:
    """The problem that answers a head alone; None where the server waits for the body instead."""
    head = HEAD.format(path=path, length=length) + "".join(f"{header}\r\n" for header in headers) + "\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(head.encode())
        client.settimeout(2)
        answer = http.client.HTTPResponse(client)
        try:
            answer.begin()
        except TimeoutError:
            return None
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="semantix"'
        return dict(json.load(answer))


KEY = f"Authorization: Bearer {'a' * 8}.{'b' * 32}"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization: Bearer nonsense"],
        ["Authorization: Bearer"],
        ["Authorization: Basic YTpi"],
        ["Cookie: other=1"],
    ],
)
def test_without_a_well_formed_key_a_body_is_refused_before_it_is_read(
    closed: WebServer, headers: list[str]
) -> None:
    refusal = refusal_of(closed, 500, *headers)
    assert refusal is not None
    assert refusal["status"] == 401


@pytest.mark.parametrize("header", [KEY, "Cookie: sessionid=unknown"])
def test_an_unknown_key_or_session_may_send_a_small_body_only(closed: WebServer, header: str) -> None:
    refusal = refusal_of(closed, 1_000_000, header)
    assert refusal is not None
    assert refusal["status"] == 401
    assert refusal_of(closed, 500, header) is None


def test_the_same_holds_for_the_admins_login_form(closed: WebServer) -> None:
    assert refusal_of(closed, 500, path="/admin/login/") is None
    refusal = refusal_of(closed, 1_000_000, path="/admin/login/")
    assert refusal is not None
    assert refusal["status"] == 401


def test_a_chunked_body_of_a_stranger_is_cut_off_at_the_same_size(closed: WebServer) -> None:
    answer = httpx.post(
        f"{closed.url}/memory-logs",
        content=iter([b"x" * 50_000] * 4),
        headers={"Authorization": KEY.partition(": ")[2]},
        timeout=60,
    )
    assert answer.status_code == 401
    assert answer.headers["Connection"] == "close"


def test_a_valid_key_may_send_large_bodies(closed: WebServer) -> None:
    key = {"Authorization": f"Bearer {new_key('alice', 'web')}"}
    large = memory("alice", "web", raw_data={"log": ["x" * 1000] * 200})
    for content in (json.dumps(large).encode(), iter([json.dumps(large).encode()])):
        answer = httpx.post(
            f"{closed.url}/memory-logs",
            content=content,
            headers=key | {"Content-Type": "application/json"},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text


def test_an_administrators_session_may_send_large_bodies(closed: WebServer) -> None:
    session = new_session()
    assert refusal_of(closed, 1_000_000, f"Cookie: sessionid={session}") is None
