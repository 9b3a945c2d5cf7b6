"""The parts of the service for a measurement: real ones in a throw-away folder, stopped at the end.

Enter `stores()` first: it sets what Django's settings read. Import models and services only inside it.
"""

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semantix.allinone import chroma, postgres, probe
from semantix.allinone.account import server_account
from semantix.allinone.data_folder import make_private
from semantix.allinone.process import Child

ROOT = Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    """Print progress to standard error. Standard output has the figures alone."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def database() -> Iterator[tuple[Path, str]]:
    """Run an empty Postgres (durable, as shipped); yields the folder and the address."""
    folder = Path(tempfile.mkdtemp(prefix="semantix-benchmark-"))
    try:
        make_private(folder, server_account(folder / "postgres"))
        say("Starting Postgres ...")
        service = postgres.start(folder / "postgres", log=folder / "postgres.log")
        try:
            yield folder, service.url
        finally:
            service.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stores(**settings: str) -> Iterator[Path]:
    """Run Postgres (durable) and Chroma, both as `manage.py up` does, migrated.

    `settings` are more environment variables.
    """
    with database() as (folder, database_url):
        port = chroma.free_port()
        set_up_django(folder, database_url, CHROMA_URL=f"http://127.0.0.1:{port}", **settings)
        from memories.index.capacity import open_collections

        say("Starting Chroma ...")
        index = chroma.start(
            folder / "chromadb",
            log=folder / "chroma.log",
            port=port,
            open_collections=open_collections(),
        )
        try:
            yield folder
        finally:
            index.stop()


def set_up_django(folder: Path, database_url: str, **settings: str) -> None:
    """Set Django up on this database and migrate it; `settings` are more environment variables."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "semantix.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(folder),
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only-for-measuring",
        "SEMANTIX_AUTH": "open",
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@contextmanager
def cluster() -> Iterator[Child]:
    """Run a django-q2 cluster; starts when its relay has reported."""
    from outbox.models import Relay

    before = set(Relay.objects.values_list("id", flat=True))
    child = Child(
        "Cluster", [sys.executable, "manage.py", "qcluster"], env=dict(os.environ), cwd=ROOT, background=True
    )
    try:
        child.wait_until(lambda: Relay.objects.exclude(id__in=before).exists(), timeout=60)
        yield child
    finally:
        child.stop(10)


@contextmanager
def web() -> Iterator[str]:
    """Run the web server as `manage.py up` does; yields its address."""
    with web_server() as (url, _):
        yield url


@contextmanager
def web_server(**environment: str) -> Iterator[tuple[str, Child]]:
    """The same; yields the address and the process. `environment` overrides variables of this process."""
    from semantix.allinone import web as web_server
    from semantix.allinone.chroma import free_port

    port = free_port()
    url = web_server.base_url("127.0.0.1", port)
    command = web_server.command("127.0.0.1", port)
    child = Child("Web server", command, env=os.environ | environment, cwd=ROOT)
    try:
        child.wait_until(lambda: probe.answers(f"{url}/health/live"), timeout=60)
        yield url, child
    finally:
        child.stop(10)


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis server that syncs its file each second, as docker-compose.yml does; yields its URL."""
    from semantix.allinone.chroma import free_port

    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit(
            "This measurement needs Redis: apt-get install redis-server (or brew install redis)."
        )
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="semantix-benchmark-redis-") as folder:
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "yes",
        ]
        child = Child("Redis", [program, *options], log=Path(folder) / "redis.log")
        try:
            child.wait_until(lambda: _answers(port), timeout=20)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            child.stop(10)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until_indexed() -> None:
    """Wait until a cluster has indexed every memory."""
    from memories.models import MemoryLog
    from memories.records.sync_status import UNINDEXED

    while MemoryLog.objects.filter(UNINDEXED).exists():
        time.sleep(0.2)


def until_settled() -> None:
    """Wait until every memory is indexed, and no event waits."""
    from outbox.models import open_events

    until_indexed()
    while open_events().exists():
        time.sleep(0.1)


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in SHARES.items()}
    return {f"{name}_ms": round(value, 2) for name, value in at.items()}


SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
