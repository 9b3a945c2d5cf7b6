"""While one tenant imports 100,000 memories, each single memory of another tenant is found within a second."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from memories.models import MemoryLog
from tests.faults import stores
from tests.faults.trial import Trial
from tests.support.clusters import cluster, url_of_the_tests_database
from tests.support.load import percentile
from tests.support.web_server import WebServer

IMPORTER = {"user_id": "importer", "project_id": "web"}
BATCH = 1_000
OTHERS = 5
PATIENCE_SECONDS = 60.0
# Seconds from the request that stores a memory until a search finds it.
GOAL_SECONDS = 1.0


def run(trial: Trial) -> None:
    database = url_of_the_tests_database()
    environment = {"DATABASE_URL": database, "CLUSTER_WORKERS": "2", "LOG_LEVEL": "ERROR"}
    batches = trial.size(100, quick=1)
    with cluster(trial.folder, **environment), WebServer(**environment) as server:
        alone = [found_after(server.url, number) for number in range(trial.size(20, quick=3))]
        importing = threading.Thread(target=import_all, args=[server.url, batches])
        importing.start()
        with ThreadPoolExecutor(2) as pool:
            beside = list(pool.map(lambda reader: singles(server.url, importing, reader), range(2)))
        importing.join()
        stores.wait_until_drained(trial, seconds=600)
    spent = [seconds for of_reader in beside for seconds in of_reader]
    trial.counts |= {"imported": BATCH * batches, "singles": len(spent)}
    trial.figures["alone_p99_ms"] = percentile([1000 * seconds for seconds in alone], 0.99)
    trial.figures["found_p50_ms"] = percentile([1000 * seconds for seconds in spent], 0.50)
    trial.figures["found_p99_ms"] = percentile([1000 * seconds for seconds in spent], 0.99)
    trial.figures["found_slowest_ms"] = round(1000 * max(spent), 1)
    late = trial.figures["found_p99_ms"] / 1000
    trial.expect(trial.quick or late <= GOAL_SECONDS, f"a single memory is found after {late} s (p99)")
    imported = MemoryLog.objects.filter(user_id=IMPORTER["user_id"]).count()
    trial.expect(imported == BATCH * batches, f"{imported} memories were imported")
    stores.compare(trial)


def import_all(url: str, batches: int) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, verify=False) as client:
        for batch in range(batches):
            new = [
                {**IMPORTER, "task": f"Import page {batch * BATCH + number}", "agent": "importer"}
                for number in range(BATCH)
            ]
            headers = {"Idempotency-Key": f"import-{batch}"}
            while (answer := client.post("/memory-logs/batch", json=new, headers=headers)).status_code == 503:
                time.sleep(min(5.0, float(answer.headers["Retry-After"])))
            answer.raise_for_status()


def singles(url: str, importing: threading.Thread, reader: int) -> list[float]:
    spent = [found_after(url, 1_000_000 * (reader + 1))]
    while importing.is_alive():
        time.sleep(0.3)
        spent.append(found_after(url, 1_000_000 * (reader + 1) + len(spent)))
    return spent


def found_after(url: str, number: int) -> float:
    """Store a memory of another tenant and search for it until it is found; returns the seconds that took."""
    owner = {"user_id": f"other-{number % OTHERS}", "project_id": "web"}
    task = f"Repair the gate of house {number}"
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, verify=False) as client:
        started = time.monotonic()
        stored = client.post("/memory-logs", json={**owner, "task": task, "agent": "ada"})
        stored.raise_for_status()
        while not _is_found(client, {**owner, "query": task}, stored.json()["id"]):
            assert time.monotonic() < started + PATIENCE_SECONDS, f"memory {number} is not found"
            time.sleep(0.02)
        return time.monotonic() - started


def _is_found(client: httpx.Client, query: dict[str, Any], memory_id: int) -> bool:
    answer = client.post("/memory-logs/search", json=query).raise_for_status()
    return memory_id in {hit["memory_log_id"] for hit in answer.json()}
