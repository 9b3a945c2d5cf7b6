"""Prefer: wait=N on the real server, with a real cluster and without one."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.clusters import cluster
from tests.support.keys import memory
from tests.support.processes import environment
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def api(django_db_setup: None) -> Iterator[httpx.Client]:
    with (
        WebServer(**environment(), WEB_THREADS="4") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def store(api: httpx.Client, wait: str, path: str = "/memory-logs", body: Any = None) -> httpx.Response:
    answer = api.post(path, json=body or memory(*new_tenant()), headers={"Prefer": wait}, timeout=60)
    assert answer.status_code == 201, answer.text
    return answer


def test_the_answer_comes_when_the_memory_is_indexed(api: httpx.Client, tmp_path: Path) -> None:
    with cluster(tmp_path):
        first = store(api, "respond-async").json()["id"]  # its worker reads in all that it needs
        wait_until(lambda: MemoryLog.objects.filter(id=first, indexed_version=1).exists())
        alone = store(api, "respond-async, wait=30")
        found = api.post(
            "/memory-logs/search",
            json={name: alone.json()[name] for name in ("user_id", "project_id")} | {"query": "login"},
        )
        changed = api.patch(
            f"/memory-logs/{alone.json()['id']}", json={"task": "Bake bread"}, headers={"Prefer": "wait=30"}
        )
        batch = store(api, "wait=30", "/memory-logs/batch", [memory(*new_tenant()) for _ in range(5)])
        indexed = MemoryLog.objects.filter(indexed_version=1, id__in=batch.json()["ids"]).count()

    assert alone.headers["Preference-Applied"] == "wait=30"
    assert alone.json()["sync"]["status"] == "indexed"
    assert [hit["memory_log_id"] for hit in found.json()] == [alone.json()["id"]]
    assert (changed.json()["sync"]["status"], changed.json()["sync"]["indexed_version"]) == ("indexed", 2)
    assert indexed == 5


def test_the_answer_comes_after_the_given_time_at_the_latest(api: httpx.Client) -> None:
    started = time.monotonic()

    answer = store(api, "wait=1")

    assert time.monotonic() - started >= 1
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.json()["sync"]["status"] == "pending"


def test_answers_that_wait_occupy_no_thread(api: httpx.Client) -> None:
    """Eight answers wait on a server of four threads, which answers other requests."""
    with ThreadPoolExecutor(8) as senders:
        held = [senders.submit(store, api, "wait=30") for _ in range(8)]
        while MemoryLog.objects.count() < 8:
            assert api.get("/memory-logs").status_code == 200
        assert api.get("/health/live").status_code == 200
        assert not any(answer.done() for answer in held)
        drain()


def test_only_a_stored_memory_is_waited_for_and_for_thirty_seconds_at_most(api: httpx.Client) -> None:
    stored = store(api, "wait=0")
    read = api.get(f"/memory-logs/{stored.json()['id']}", headers={"Prefer": "wait=100"})
    refused = api.post("/memory-logs", json={}, headers={"Prefer": "wait=100"})

    assert "Preference-Applied" not in stored.headers
    assert "Preference-Applied" not in read.headers
    assert refused.status_code == 400
