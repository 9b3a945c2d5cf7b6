"""Request bodies over a real connection: too large, chunked, cut off."""

import http.client
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from memories.models import MemoryLog
from tests.support.keys import memory
from tests.support.processes import environment
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


@pytest.mark.parametrize("sent", [b"GET /?" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"Hello\r\n\r\n"])
def test_a_request_that_is_not_http_is_refused_with_a_problem(server: WebServer, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(sent)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert json.load(answer)["type"] == "urn:semantix:problem:bad-request"
