"""Check Dockerfile and docker-compose.yml against the project, without a container engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from semantix.allinone.chroma import server_config
from tests.semantix.test_settings import listed_in_example, read_in_settings
from tests.support.paths import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "semantix"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
GUIDE = (ROOT / "docs/how-to/deploy.md").read_text()
SECRETS = {"SECRET_KEY", "POSTGRES_PASSWORD", "DATABASE_PASSWORD", "REDIS_PASSWORD"}
# What the compose specification knows of a service, as far as it is used here.
KEYS = {
    *(
        "build",
        "cap_drop",
        "command",
        "depends_on",
        "env_file",
        "environment",
        "expose",
        "healthcheck",
        "image",
    ),
    *("init", "ports", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs"),
    *("ulimits", "user", "volumes", "networks", "mem_limit", "pids_limit"),
}


def interpolated() -> dict[str, str]:
    """Each ${NAME...} with what follows the name at its first place, where a missing value is reported."""
    found: dict[str, str] = {}
    for name, rest in re.findall(r"\$\{([A-Z_]+)([^}]*)\}", COMPOSE_TEXT.replace("[::1]", "")):
        found.setdefault(name, rest)
    return found


def instructions(name: str) -> list[str]:
    text = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


class TestCompose:
    def test_it_has_every_service(self) -> None:
        assert set(SERVICES) == {"postgres", "chroma", "cache", "turns", "migrate", "web", "cluster"}

    @pytest.mark.parametrize("name", SERVICES)
    def test_a_service_uses_only_keys_that_compose_knows(self, name: str) -> None:
        assert set(SERVICES[name]) <= KEYS

    @pytest.mark.parametrize("name", SERVICES)
    def test_a_service_has_no_unnecessary_rights(self, name: str) -> None:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert name in OURS or service["user"] in ("postgres", "redis")

    @pytest.mark.parametrize("name", SERVICES)
    def test_each_long_running_service_has_a_health_check(self, name: str) -> None:
        healthcheck = SERVICES[name].get("healthcheck", {"test": "the Dockerfile's"})
        assert ("test" in healthcheck) == (name != "migrate")

    def test_each_dependency_is_a_service(self) -> None:
        for service in SERVICES.values():
            for name, wanted in service.get("depends_on", {}).items():
                assert wanted["condition"] != "service_healthy" or "test" in SERVICES[name]["healthcheck"]

    def test_every_volume_is_declared_and_used(self) -> None:
        used = {each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", [])}
        files = {name for name in used if name.startswith("./")}
        assert used - files == set(COMPOSE["volumes"])
        assert all((ROOT / name).is_file() for name in files)

    @pytest.mark.parametrize("name", SERVICES)
    def test_a_service_has_limits_of_memory_processes_and_tmpfs(self, name: str) -> None:
        service = SERVICES[name]
        assert service["mem_limit"]
        assert service["pids_limit"]
        assert all(":size=" in each for each in service.get("tmpfs", []))

    def test_stores_are_reached_by_web_and_cluster_only_and_reach_nothing(self) -> None:
        networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
        assert networks["postgres"] == networks["migrate"] == {"database"}
        assert networks["chroma"] == {"index"}
        assert networks["cache"] == networks["turns"] == {"redis"}
        assert networks["web"] == networks["cluster"] == set(COMPOSE["networks"])
        internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
        assert internal == {"database", "index", "redis"}

    def test_web_and_cluster_are_no_superuser_of_postgres_and_redis_asks_for_a_password(self) -> None:
        for name in ("web", "cluster", "migrate"):
            assert SERVICES[name]["environment"]["DATABASE_URL"].startswith(
                "postgresql://semantix:${DATABASE_PASSWORD"
            )
        for name in ("cache", "turns"):
            command = SERVICES[name]["command"]
            assert command[command.index("--requirepass") + 1] == "${REDIS_PASSWORD}"

    def test_every_variable_exists(self) -> None:
        known = read_in_settings() | SECRETS
        assert set(interpolated()) <= known
        for service in OURS.values():
            assert set(service.get("environment", {})) <= read_in_settings()

    def test_no_secret_has_a_default_and_the_guide_says_how_to_make_it(self) -> None:
        for name in SECRETS:
            assert interpolated()[name].startswith(":?")
            assert name in re.findall(r"for name in ([A-Z_ ]+); do echo .*openssl rand", GUIDE)[0].split()
        assert not SECRETS & {name for name, rest in interpolated().items() if rest.startswith(":-")}

    def test_only_the_web_server_is_published_and_only_on_loopback(self) -> None:
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert list(published) == ["web"]
        assert all(port.startswith("127.0.0.1:") and port.endswith(":8000") for port in published["web"])

    def test_every_port_is_the_same_in_all_places(self) -> None:
        assert SERVICES["web"]["command"] == ["python", "-m", "semantix.web"]
        assert OURS["web"]["environment"]["PORT"] == "8000"
        cluster = SERVICES["cluster"]
        [port] = cluster["expose"]
        assert cluster["environment"]["CLUSTER_METRICS_PORT"] == port
        assert f":{port}/health/live" in " ".join(cluster["healthcheck"]["test"])
        chroma = yaml.safe_load((ROOT / "chroma.yaml").read_text())
        assert OURS["web"]["environment"]["CHROMA_URL"] == f"http://chroma:{chroma['port']}"
        assert f":{chroma['port']}/" in " ".join(SERVICES["chroma"]["healthcheck"]["test"])

    def test_writable_folders_are_tmpfs(self) -> None:
        for name in ("web", "cluster", "migrate"):
            environment, tmpfs = OURS[name]["environment"], OURS[name]["tmpfs"]
            folders = {each.partition(":")[0] for each in tmpfs}
            assert {environment["DATA_DIR"], environment["PROMETHEUS_MULTIPROC_DIR"]} <= folders

    def test_chroma_has_the_configuration_of_the_embedded_server(self) -> None:
        chroma = yaml.safe_load((ROOT / "chroma.yaml").read_text())
        room = int(OURS["cluster"]["environment"]["CHROMA_OPEN_COLLECTIONS"])
        embedded = server_config(Path(chroma["persist_path"]), chroma["port"], room)
        assert chroma == embedded | {"listen_address": "0.0.0.0"}
        assert SERVICES["chroma"]["volumes"] == ["chroma:/data"]
        assert chroma["persist_path"].startswith("/data/")
        keep_log = f"python -m semantix.allinone.chroma_database {chroma['persist_path']} && exec chroma run"
        assert keep_log in SERVICES["chroma"]["command"][-1]

    def test_only_the_cache_redis_may_evict(self) -> None:
        assert "allkeys-lru" in SERVICES["cache"]["command"]
        assert {"noeviction", "--appendonly"} <= set(SERVICES["turns"]["command"])
        assert OURS["web"]["environment"]["REDIS_URL"].endswith("@cache:6379/0")
        assert OURS["web"]["environment"]["CONVERSATION_REDIS_URL"].endswith("@turns:6379/0")

    def test_a_cluster_has_time_to_finish_a_task(self) -> None:
        from django.conf import settings

        assert int(SERVICES["cluster"]["stop_grace_period"].rstrip("s")) > settings.Q_CLUSTER["timeout"]


class TestDockerfile:
    def test_it_runs_as_an_ordinary_user(self) -> None:
        assert instructions("USER") == ["semantix"]
        assert "useradd" in DOCKERFILE
        assert DOCKERFILE.index("\nUSER ") > DOCKERFILE.rindex("\nCOPY ")

    def test_copied_files_exist_and_are_not_ignored(self) -> None:
        allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
        for line in instructions("COPY"):
            if line.startswith("--from"):
                continue
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, source

    def test_everything_else_is_ignored(self) -> None:
        lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#!"]
        assert lines == ["*", "**/__pycache__"]

    def test_every_package_of_the_project_is_copied(self) -> None:
        copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
        assert {"manage.py", "semantix", "memories", "outbox"} <= copied

    def test_its_variables_are_settings(self) -> None:
        names = {name for line in instructions("ENV") for name in re.findall(r"\b([A-Z_]+)=", line)}
        of_python = {"PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
        of_pip = {name for name in names if name.startswith("PIP_")}
        assert names - of_python - of_pip <= set(listed_in_example())

    def test_it_contains_no_secret(self) -> None:
        assert not re.search(r"SECRET|PASSWORD|TOKEN|API_KEY", DOCKERFILE)
