"""A full disk of the data folder is named by the overview and by the health check."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from outbox.operations import problems
from semantix.web import health
from semantix.web.disk import MB, full_disk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _up(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `manage.py up`, whose database is in the data folder."""
    settings.DATA_DIR, settings.SERVICES_ENV = tmp_path, tmp_path / "services.env"
    settings.SERVICES_ENV.touch()
    monkeypatch.setattr(health, "CHECK_SECONDS", 60.0)


def of_a_disk(monkeypatch: pytest.MonkeyPatch, *, total: int, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=total * MB, free=free * MB))


@pytest.mark.parametrize(
    ("total", "free", "is_full"),
    [(300, 49, True), (300, 51, False), (50_000, 490, True), (50_000, 510, False), (900_000, 1_100, False)],
)
def test_one_percent_counts_as_full(
    monkeypatch: pytest.MonkeyPatch, total: int, free: int, is_full: bool
) -> None:
    of_a_disk(monkeypatch, total=total, free=free)

    assert any(full_disk()) is is_full


def test_the_overview_and_the_health_check_say_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    of_a_disk(monkeypatch, total=300, free=3)

    [problem] = [found for found in problems.find() if found.kind == "disk"]
    assert "is full (3 MB of 300 MB are free). PostgreSQL may refuse memories" in str(problem)
    answer = client.get("/health/ready").json()
    assert answer["status"] == "degraded"
    assert answer["checks"]["disk"]["detail"].startswith(
        "The disk of the data folder is full. PostgreSQL may"
    )


def test_a_database_elsewhere_has_another_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    of_a_disk(monkeypatch, total=300, free=3)
    settings.SERVICES_ENV.unlink()
    settings.GIVEN = {"DATABASE_URL"}

    assert not any(full_disk())
