"""PostgreSQL restarts, crashes, runs out of connections and out of disk: each acknowledged write is there afterwards.

A web server and a cluster work on a server of their own in a small file system, where root may mount one; otherwise the
disk does not fill. What ends is started again, as `manage.py up` does. Clients repeat a refused write under its
Idempotency-Key.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from semantix.allinone import postgres, programs
from semantix.allinone.service import Service
from tests.faults.trial import Trial
from tests.support import processes
from tests.support.clusters import cluster
from tests.support.load import Load
from tests.support.postgres_folder import reachable
from tests.support.processes import manage
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

MEGABYTES = 400
SETTINGS = {
    "max_connections": "40",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
}


def run(trial: Trial) -> None:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(trial.folder / "disk"))
        folder = reachable(disk or trial.folder / "disk")
        server = postgres.start(folder / "postgres", log=trial.folder / "postgres.log", settings=SETTINGS)
        stack.callback(server.stop)
        copy_tables(server.url)
        environment = {"LOG_LEVEL": "ERROR", "CLUSTER_WORKERS": "2"}
        workers = stack.enter_context(
            cluster(trial.folder, database_url=server.url, wait=False, **environment)
        )
        web = stack.enter_context(
            WebServer(log=trial.folder / "web.log", DATABASE_URL=server.url, **environment)
        )
        workers.wait_until_it_works()
        with Load(web.url, request, per_second=trial.size(50.0, quick=20.0)) as load:
            wait_until(lambda: any(write.body for write in load.writes))
            for name, trouble in troubles(trial, server, disk):
                trial.say(name)
                trial.counts[name.replace(" ", "_")] = 1 + trial.counts.get(name.replace(" ", "_"), 0)
                trouble()
                load.phase = f"after {name} {time.monotonic()}"
                wait_until(lambda: any(write.body for write in load.of(load.phase)))
        answered(trial, load)
        delivered(trial, server, load)


def copy_tables(url: str) -> None:
    """The empty tables of this process's database, which takes a tenth of the time of a migration."""
    dump = [str(programs.installed() / "pg_dump"), "--no-owner", processes.environment()["DATABASE_URL"]]
    load = [str(programs.installed() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", url]
    dumped = subprocess.run(dump, capture_output=True, check=True).stdout
    subprocess.run(load, input=dumped, capture_output=True, check=True)


def request(number: int) -> tuple[str, dict[str, Any]]:
    owner = {"user_id": f"user-{number % 3}", "project_id": "trouble"}
    return "/memory-logs", {**owner, "task": f"Fix bug number {number}", "agent": "coder"}


Trouble = tuple[str, Callable[[], object]]


def troubles(trial: Trial, server: Service, disk: Path | None) -> list[Trouble]:
    seconds = trial.size(8.0, quick=0.3)
    chosen: list[Trouble] = [
        ("restarts", server.restart),
        ("crashes", lambda: crash(server)),
        ("times out of connections", lambda: take_all_connections(server, seconds)),
    ]
    if disk:
        chosen.append(("times out of disk", lambda: fill(server, disk, seconds)))
    chosen *= trial.size(3, quick=1)
    trial.chance.shuffle(chosen)
    return chosen


def crash(server: Service) -> None:
    """Kill a session's process. PostgreSQL then ends all sessions and recovers from its log."""
    backends = [
        child for child in psutil.Process(server.pid).children() if "idle" in " ".join(child.cmdline())
    ]
    os.kill(backends[0].pid, signal.SIGKILL)
    wait_until(lambda: answers(server), seconds=60)


def take_all_connections(server: Service, seconds: float) -> None:
    """Also those that are reserved for a superuser."""
    held: list[psycopg.Connection[Any]] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            held.append(psycopg.connect(server.url, autocommit=True))
        except psycopg.OperationalError:
            time.sleep(0.05)
        # The sessions of the service are ended, and must wait for a place.
        with suppress(psycopg.Error, IndexError):
            held[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> ALL (%s)",
                [[session.info.backend_pid for session in held]],
            )
    for session in held:
        session.close()


def fill(server: Service, disk: Path, seconds: float) -> None:
    filler = disk / "filler"
    deadline = time.monotonic() + seconds
    with filler.open("ab", buffering=0) as file:
        while time.monotonic() < deadline:
            try:
                file.write(b"x" * 65536)
            except OSError:
                time.sleep(0.05)
    filler.unlink()
    # Without room for its log, PostgreSQL ends. Its manager starts it again.
    if not server.is_alive():
        server.restart()
    wait_until(lambda: answers(server), seconds=60)


def answers(server: Service) -> bool:
    try:
        psycopg.connect(server.url).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of MEGABYTES, or None where it cannot be mounted."""
    folder.mkdir()
    options = f"size={MEGABYTES}m,mode=755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def answered(trial: Trial, load: Load) -> None:
    trial.counts["writes"] = len(load.writes)
    trial.counts["tries_refused"] = sum(len(write.statuses) - 1 for write in load.writes)
    told = Counter(status for write in load.writes for status in write.statuses)
    trial.expect(set(told) <= {0, 201, 409, 503}, f"answers by status: {told}")
    trial.expect(not any(write.hung for write in load.writes), "a client heard nothing for a minute")
    trial.expect(not load.unaccepted, f"{len(load.unaccepted)} writes were never accepted")


def delivered(trial: Trial, server: Service, load: Load) -> None:
    started = time.monotonic()
    with psycopg.connect(server.url, autocommit=True) as session:

        def ask(query: str) -> Any:
            return session.execute(query).fetchall()

        open_events = (
            "SELECT count(*) FROM outbox_event WHERE status IN ('pending', 'claimed') "
            "AND aggregatetype NOT IN ('memory_vector_recheck', 'memory_index_recheck')"
        )
        wait_until(lambda: ask(open_events) == [(0,)], seconds=300)
        trial.figures["drain_s"] = round(time.monotonic() - started, 1)
        dead = ask("SELECT type, last_error FROM outbox_event WHERE status = 'dead'")
        trial.expect(not dead, f"events are dead: {dead[:3]}")
        stored = Counter(id for (id,) in ask("SELECT id FROM memory_logs"))
        acknowledged = Counter(write.body["id"] for write in load.writes if write.body)
        trial.expect(
            stored == acknowledged, f"lost: {acknowledged - stored}; doubled: {stored - acknowledged}"
        )
    report = json.loads(manage("verify_index", "--vectors", "--json", DATABASE_URL=server.url).stdout)
    found = {name: report[name] for name in ("missing", "stale", "orphaned") if report[name]}
    trial.expect(not found, f"the index differs: {found}")
