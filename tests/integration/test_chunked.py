"""Bodies sent in chunks, to the web server as it is started."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.keys import memory
from tests.processes import environment
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer(**environment() | {"MAX_BODY_BYTES": "1000"}) as running:
        yield running


def send_in_chunks(server: WebServer, body: dict[str, object]) -> httpx.Response:
    text = json.dumps(body).encode()
    chunks = (text[start : start + 10] for start in range(0, len(text), 10))
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{server.url}/memory-logs", content=chunks, headers=headers, timeout=60)


def test_a_memory_sent_in_chunks_is_stored(server: WebServer) -> None:
    response = send_in_chunks(server, memory("alice", "web"))

    assert response.request.headers["Transfer-Encoding"] == "chunked"
    assert response.status_code == 201, response.text


def test_one_that_is_too_large_is_refused_as_any(server: WebServer) -> None:
    response = send_in_chunks(server, memory("alice", "web", raw_data={"text": "x" * 2000}))

    assert response.status_code == 413
