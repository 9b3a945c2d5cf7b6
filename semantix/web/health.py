"""Health checks: `live` says that the process answers; `ready` lists each check with its result and duration.

A check cannot delay the answer: each check runs on its own thread for at most CHECK_SECONDS, and a check that still
hangs is not started a second time.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from django.db import close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from memories.embeddings.backend import DEPENDENCY as EMBEDDER
from memories.index.client import get_client
from outbox.operations import clusters, problems
from outbox.operations.problems import at
from semantix.web.disk import full_disk
from semantix.web.parts import failing

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0

Check = Callable[[], None]


class NotWell(Exception):
    """A check found a fault. The message tells the operator what is wrong and what to do."""


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 `ok`; 200 `degraded` where memories are stored but another part fails; 503 `unavailable`."""
    checks = run_checks()
    if any(checks[name]["status"] != "ok" for name in NEEDED):
        return JsonResponse({"status": "unavailable", "checks": checks}, status=503)
    well = all(check["status"] == "ok" for check in checks.values())
    return JsonResponse({"status": "ok" if well else "degraded", "checks": checks})


def run_checks() -> dict[str, dict[str, Any]]:
    """Run all checks. Each result has `status` (ok, failed), `latency_ms`, and `detail` when failed."""
    checks = CHECKS | ({"parts": parts} if failing() else {}) | ({"disk": disk} if any(full_disk()) else {})
    running = {name: _begin(name, check) for name, check in checks.items()}
    wait(running.values(), timeout=CHECK_SECONDS)
    return {name: _outcome(name, future) for name, future in running.items()}


def postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM outbox_event LIMIT 1")


def migrations() -> None:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        first = missing[0][0]
        raise NotWell(f"{len(missing)} migrations are not applied, from {first} on: run manage.py migrate")


def cluster() -> None:
    if not clusters.alive():
        seen = clusters.last_seen()
        since = f"last seen at {at(seen)}" if seen else "never seen"
        raise NotWell(f"no cluster is alive ({since}): run manage.py qcluster; memories are stored and wait")


def chroma() -> None:
    # A real query: Chroma's own health check passes even when it can no longer open any collection.
    get_client().list_collections(limit=1)


def embedder() -> None:
    """What its circuit knows: to ask a paid provider at each check would cost money."""
    if problem := problems.of_dependency(EMBEDDER):
        raise NotWell(problem.for_everybody)


def parts() -> None:
    """Fail where a part of `manage.py up` ends again and again."""
    if found := failing():
        raise NotWell("; ".join(part.status for part in found))


def disk() -> None:
    for problem in full_disk():
        raise NotWell(problem.for_everybody)


CHECKS: dict[str, Check] = {
    "postgres": postgres,
    "migrations": migrations,
    "cluster": cluster,
    "chroma": chroma,
    "embedder": embedder,
}
# No memory can be stored unless these pass.
NEEDED = ("postgres", "migrations")

_threads = ThreadPoolExecutor(max_workers=len(CHECKS) + 2, thread_name_prefix="health")
_running: dict[str, Future[float]] = {}
# The last logged error by check: machines ask every few seconds, and one line for each fault is enough.
_logged: dict[str, str] = {}


def _begin(name: str, check: Check) -> Future[float]:
    """Start the check, or return the run that has not finished yet."""
    future = _running.get(name)
    if future is None or future.done():
        future = _running[name] = _threads.submit(_timed, check)
    return future


def _timed(check: Check) -> float:
    """Run the check and return its duration in milliseconds."""
    started = time.perf_counter()
    close_old_connections()
    try:
        check()
    finally:
        connection.close()
    return (time.perf_counter() - started) * 1000


def _outcome(name: str, future: Future[float]) -> dict[str, Any]:
    if not future.done():
        return {
            "status": "failed",
            "latency_ms": CHECK_SECONDS * 1000,
            "detail": f"no answer in {CHECK_SECONDS} s",
        }
    error = future.exception()
    if error is None:
        _logged.pop(name, None)
        return {"status": "ok", "latency_ms": round(future.result(), 1)}
    return {"status": "failed", "latency_ms": None, "detail": _plain(name, error)}


def _plain(name: str, error: BaseException) -> str:
    """The reason for everybody. A driver's message names hosts, ports and accounts, so it goes to the log only."""
    if isinstance(error, NotWell):
        return str(error)
    text = " ".join(str(error).split())
    if _logged.get(name) != text:
        _logged[name] = text
        logger.warning("The health check %s failed: %s", name, text)
    return f"{name} does not work. The log of the web server has the reason."
