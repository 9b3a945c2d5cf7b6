"""Health checks: each has a name and a duration, and none can delay the answer."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.test import Client

from outbox import Unavailable
from outbox.models import Relay
from outbox.queue import circuits
from semantix.web import health
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first check of Chroma imports its client, which may take more than two seconds on a busy machine."""
    monkeypatch.setattr(health, "CHECK_SECONDS", 60.0)
    monkeypatch.setattr(health, "_logged", {})


@pytest.fixture
def a_cluster() -> None:
    Relay.objects.create(id="00000000-0000-0000-0000-000000000001", host="here", pid=1, wakeup="listen")


def test_live_reports_only_that_the_process_answers(client: Client) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}


def test_live_is_answered_while_all_threads_are_busy(mute_server: str) -> None:
    """One thread waits for a database that does not answer, and the other requests wait for the thread."""
    away = {"DATABASE_URL": f"postgresql://postgres@{mute_server}/semantix", "WEB_THREADS": "1"}
    with WebServer(**away) as server, ThreadPoolExecutor(5) as clients:
        busy = [clients.submit(httpx.get, f"{server.url}/memory-logs", timeout=120) for _ in range(5)]
        wait_until(lambda: any(request.done() for request in busy))
        assert httpx.get(f"{server.url}/health/live", timeout=60).json() == {"status": "ok"}
        assert httpx.head(f"{server.url}/health/live", timeout=60).status_code == 200
        assert not all(request.done() for request in busy)


@pytest.mark.usefixtures("a_cluster")
def test_ready_names_each_check_with_its_latency(client: Client) -> None:
    answer = client.get("/health/ready")

    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    assert set(body["checks"]) == {"postgres", "migrations", "cluster", "chroma", "embedder"}
    assert all(check["latency_ms"] >= 0 for check in body["checks"].values())


def test_without_a_cluster_it_is_degraded_and_says_what_to_run(client: Client) -> None:
    answer = client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "manage.py qcluster" in answer.json()["checks"]["cluster"]["detail"]


@pytest.mark.usefixtures("a_cluster")
def test_ready_names_the_embedder_that_is_away_without_the_reason(client: Client) -> None:
    circuits.open_circuit(Unavailable("embedder", "10.0.0.7 refused the key of alice"))

    answer = client.get("/health/ready").json()

    assert answer["status"] == "degraded"
    detail = answer["checks"]["embedder"]["detail"]
    assert detail.startswith("embedder is away since 2")
    assert "It is tried again at 2" in detail
    assert "alice" not in str(answer)


@pytest.fixture
def mute_server() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.usefixtures("a_cluster")
def test_a_dependency_that_hangs_does_not_hang_the_check(
    client: Client, mute_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 5.0)
    monkeypatch.setitem(health.CHECKS, "chroma", lambda: _wait_for(mute_server))

    answer = client.get("/health/ready").json()

    assert answer["status"] == "degraded"
    assert answer["checks"]["chroma"]["detail"] == "no answer in 5.0 s"
    assert answer["checks"]["postgres"]["status"] == "ok"


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.recv(1)


@pytest.mark.usefixtures("a_cluster")
def test_without_postgres_it_is_unavailable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "postgres", refused)

    answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["checks"]["postgres"]["status"] == "failed"


def test_a_drivers_message_goes_to_the_log_once_and_to_no_client(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(health.CHECKS, "postgres", refused)

    answers = [client.get("/health/ready") for _ in range(3)]

    for answer in answers:
        assert "10.0.0.7" not in answer.content.decode()
        assert answer.json()["checks"]["postgres"]["detail"].startswith("postgres does not work.")
    assert caplog.text.count("The health check postgres failed: no route to 10.0.0.7") == 1


def refused() -> None:
    raise ConnectionRefusedError("no route to 10.0.0.7")
