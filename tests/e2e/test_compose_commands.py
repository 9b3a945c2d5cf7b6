"""Run the commands of docker-compose.yml as processes, in its order, with its environment and health checks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
import yaml

from semantix.allinone import postgres, programs
from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.paths import ROOT
from tests.support.postgres_folder import reachable
from tests.support.programs import require
from tests.support.waiting import wait_until

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# The Dockerfile's health check holds where a service has none of its own.
[_, _written] = (ROOT / "Dockerfile").read_text().split("HEALTHCHECK")
IMAGES_CHECK: list[str] = yaml.safe_load(_written.split("CMD", 1)[1].splitlines()[0])
PORTS = {"chroma": "8000", "cache": "6379", "turns": "6379", "web": "8000", "cluster": "9100"}
REDIS_PASSWORD = "secret"
MEMORY = {"user_id": "ada", "project_id": "demo", "task": "Fix the login timeout", "agent": "coder"}


class Composed:
    """Every service on free ports of this machine. A database on the tests' Postgres replaces the service postgres."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self.folder = folder
        self.database_url = database_url
        self.stack = stack
        self.ports = {name: str(free_port()) for name in PORTS}
        self.url = f"http://127.0.0.1:{self.ports['web']}"

    def start(self, name: str) -> None:
        child = Child(name, self.command(name), env=self.environment(name), cwd=self.cwd(name))
        self.stack.callback(child.stop)
        child.wait_until(lambda: self.listens(name) and self.is_healthy(name), timeout=60)

    def run(self, name: str, *command: str) -> str:
        """Run the service's command, or `command` in its place, to its end. Returns its output."""
        argv = self.here(list(command)) if command else self.command(name)
        done = subprocess.run(
            argv, env=self.environment(name), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def listens(self, name: str) -> bool:
        """Whether the port is open. The health check, which takes processor time, runs only after that."""
        with socket() as client:
            return client.connect_ex(("127.0.0.1", int(self.ports[name]))) == 0

    def is_healthy(self, name: str) -> bool:
        kind, *test = SERVICES[name].get("healthcheck", {"test": ["CMD", *IMAGES_CHECK]})["test"]
        assert kind == "CMD"
        if test[0] == "redis-cli":
            test[1:1] = ["-p", self.ports[name]]
        check = [word.replace(f"127.0.0.1:{PORTS[name]}/", f"127.0.0.1:{self.ports[name]}/") for word in test]
        done = subprocess.run(
            self.here(check), env=self.environment(name), capture_output=True, check=False, timeout=60
        )
        return done.returncode == 0

    def command(self, name: str) -> list[str]:
        command = [word.replace("${REDIS_PASSWORD}", REDIS_PASSWORD) for word in SERVICES[name]["command"]]
        if name == "chroma":
            folder = str(self.folder / name)
            command[-1] = (
                command[-1].replace("/data/chromadb", folder).replace("chroma.yaml", f"{folder}.yaml")
            )
        return self.here(command) + (["--port", self.ports[name]] if command[0] == "redis-server" else [])

    def here(self, command: list[str]) -> list[str]:
        """The command with our virtual environment's programs in place of the image's."""
        beside = Path(sys.executable).with_name(command[0])
        return [str(beside) if beside.exists() else command[0], *command[1:]]

    def cwd(self, name: str) -> Path:
        """The working folder: a data folder for Redis, the project for what runs in our own image."""
        folder = self.folder / name
        if name == "chroma":
            given = yaml.safe_load((ROOT / "chroma.yaml").read_text())
            ours = {"persist_path": str(folder), "port": int(self.ports[name])}
            folder.with_suffix(".yaml").write_text(yaml.safe_dump(given | ours))
        if name in ("chroma", "web", "cluster"):
            return ROOT
        folder.mkdir()
        return folder

    def environment(self, name: str) -> dict[str, str]:
        given = SERVICES[name].get("environment", {})
        measured = self.folder / f"{name}-measured"
        measured.mkdir(exist_ok=True)
        ours = {
            "SECRET_KEY": "0123456789abcdef" * 4,
            "DATABASE_URL": self.database_url,
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "DATA_DIR": str(self.folder),
            "PROMETHEUS_MULTIPROC_DIR": str(measured),
            "REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self.ports['cache']}/0",
            "CONVERSATION_REDIS_URL": f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self.ports['turns']}/0",
            "CHROMA_URL": f"http://127.0.0.1:{self.ports['chroma']}",
            "REDISCLI_AUTH": REDIS_PASSWORD,
            "PORT": self.ports["web"],
            "CLUSTER_METRICS_PORT": self.ports["cluster"],
        }
        # Only what compose gives: nothing of the shell that runs the tests.
        environment = given | {key: ours[key] for key in given.keys() & ours.keys()}
        # As in the image, our virtual environment's programs come first.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {"PATH": path, "ENV_FILE": os.devnull, "HOME": str(self.folder), **environment}


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, as the role that docker/create-role.sh creates: it is no superuser."""
    folder = reachable(tmp_path) / "postgres"
    service = postgres.start(folder, log=tmp_path / "postgres.log", settings=postgres.NOT_DURABLE)
    try:
        parts = urlsplit(service.url)
        host, port = (parse_qs(parts.query)[name][0] for name in ("host", "port"))
        given = {"PGHOST": host, "PGPORT": port, "POSTGRES_DB": "semantix", "DATABASE_PASSWORD": "secret"}
        path = os.pathsep.join([str(programs.installed()), os.environ["PATH"]])
        subprocess.run([ROOT / "docker/create-role.sh"], env={"PATH": path, **given}, check=True)
        url = parts._replace(netloc="semantix:secret@").geturl()
        with psycopg.connect(url) as connection:
            rights = connection.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
                "WHERE rolname = current_user"
            ).fetchone()
            assert rights == (False,) * 5
        yield url
    finally:
        service.stop()


def test_all_services_start_in_order_become_healthy_and_work_together(
    tmp_path: Path, database_url: str
) -> None:
    require("redis-server")
    with ExitStack() as stack:
        composed = Composed(tmp_path, database_url, stack)
        for name in ("chroma", "cache", "turns"):
            composed.start(name)
        composed.run("migrate")
        composed.start("web")
        composed.start("cluster")

        wait_until(
            lambda: (
                httpx.get(f"{composed.url}/health/ready", timeout=60, verify=False).json()["status"] == "ok"
            )
        )
        key = composed.run("web", "python", "manage.py", "create_api_key", "--user-id", "ada")
        with httpx.Client(
            base_url=composed.url, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as ada:
            assert httpx.post(f"{composed.url}/memory-logs", json=MEMORY, timeout=60).status_code in (
                401,
                403,
            )
            stored = ada.post("/memory-logs", json=MEMORY).raise_for_status().json()
            query = {"user_id": "ada", "project_id": "demo", "query": "timeouts at login"}
            found = wait_until(lambda: ada.post("/memory-logs/search", json=query).raise_for_status().json())
        assert [hit["memory_log_id"] for hit in found] == [stored["id"]]
        # It is found by its words before its event is settled.
        delivered = 'semantix_outbox_attempts_total{event_type="memory_log.stored",outcome="delivered"} 1.0'
        metrics = f"http://127.0.0.1:{composed.ports['cluster']}/metrics"
        wait_until(lambda: delivered in httpx.get(metrics, timeout=60, verify=False).text)
