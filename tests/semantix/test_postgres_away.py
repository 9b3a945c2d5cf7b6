"""While PostgreSQL is stopped or mute, every kind of request is answered with a 503 problem at once."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from semantix.allinone import postgres
from semantix.allinone.service import Service
from tests.support.keys import memory
from tests.support.postgres_folder import reachable
from tests.support.processes import manage
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

# Seconds until a client gives up; far above the time to connect, far below a hang.
PATIENCE = 60
KEY = {"Authorization": f"Bearer {'a' * 8}.{'b' * 32}"}
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/memory-logs", {"json": memory("alice", "web")}),
    ("GET", "/memory-logs", {}),
    ("GET", "/memory-logs/1", {}),
    ("GET", "/memory-logs/1", {"headers": KEY}),
    ("GET", "/memory-logs/1", {"cookies": {"sessionid": "x" * 32}}),
]


def own_postgres(folder: Path) -> Service:
    return postgres.start(reachable(folder), log=folder.with_suffix(".log"), settings=postgres.NOT_DURABLE)


def ask(server: WebServer, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
    return httpx.request(method, server.url + path, timeout=PATIENCE, **options)


def assert_unavailable(server: WebServer) -> None:
    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        answers = list(pool.map(lambda request: ask(server, *request), REQUESTS))
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        assert "PostgreSQL" in answer.json()["detail"]


@pytest.fixture
def mute_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"postgresql://postgres@127.0.0.1:{listening.getsockname()[1]}/semantix"


def test_a_stopped_server_is_503_at_once_and_used_again_after_its_restart(tmp_path: Path) -> None:
    store = own_postgres(tmp_path / "postgres")
    try:
        assert manage("migrate", DATABASE_URL=store.url).returncode == 0
        with WebServer(DATABASE_URL=store.url) as server:
            created = httpx.post(f"{server.url}/memory-logs", json=memory("alice", "web"), timeout=60)
            assert created.status_code == 201

            store.stop()
            assert_unavailable(server)

            store = own_postgres(tmp_path / "postgres")
            assert (
                httpx.get(f"{server.url}/memory-logs/{created.json()['id']}", timeout=60).status_code == 200
            )
    finally:
        store.stop()


def test_a_mute_server_is_503_within_the_connect_timeout(mute_server: str) -> None:
    with WebServer(DATABASE_URL=mute_server) as server:
        assert_unavailable(server)


@contextmanager
def frozen(store: Service) -> Iterator[None]:
    """Its processes exist and keep their connections, but do nothing."""
    processes = [psutil.Process(store.pid), *psutil.Process(store.pid).children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_frozen_server_is_503_within_the_wait_limit(tmp_path: Path) -> None:
    store = own_postgres(tmp_path / "postgres")
    try:
        assert manage("migrate", DATABASE_URL=store.url).returncode == 0
        with WebServer(DATABASE_URL=store.url, DATABASE_WAIT_SECONDS="3", WEB_THREADS="2") as server:
            wait_until(lambda: ask(server, *REQUESTS[0]).status_code == 201)

            with frozen(store):
                assert_unavailable(server)

            wait_until(lambda: ask(server, *REQUESTS[0]).status_code == 201)
    finally:
        store.stop()


def test_the_admin_shows_a_503_page() -> None:
    with WebServer(DATABASE_URL="postgresql://postgres@127.0.0.1:1/semantix") as server:
        answer = httpx.get(f"{server.url}/admin/login/", cookies={"sessionid": "x" * 32}, timeout=60)

    assert answer.status_code == 503
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Retry-After"]
