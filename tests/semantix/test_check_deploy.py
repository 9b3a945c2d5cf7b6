"""`manage.py check --deploy` with production settings, and the effect of those settings."""

from typing import Any

import pytest
from django.test import Client

from tests.support.processes import manage

pytestmark = pytest.mark.django_db(transaction=True)

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "semantix.settings",
    "SECRET_KEY": "0123456789abcdef" * 4,
    "SEMANTIX_AUTH": "required",
    "ALLOWED_HOSTS": "semantix.example",
    "HTTPS": "true",
}


def check(**variables: str) -> tuple[int, str]:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | variables)
    return done.returncode, done.stderr


def test_production_settings_are_clean() -> None:
    assert check() == (0, "")


OPEN = {"HTTPS": "false", "SECRET_KEY": "", "DEBUG": "true", "ALLOWED_HOSTS": "", "SEMANTIX_AUTH": "open"}


@pytest.fixture(scope="module")
def report(django_db_setup: None) -> str:
    code, told = check(**OPEN)
    assert code == 1
    return told


@pytest.mark.parametrize(
    ("variable", "id"),
    [
        ("HTTPS", "security.W008"),
        ("SECRET_KEY", "security.W009"),
        ("DEBUG", "security.W018"),
        ("ALLOWED_HOSTS", "security.W020"),
        ("SEMANTIX_AUTH", "semantix.E001"),
    ],
)
def test_each_open_door_is_reported(report: str, variable: str, id: str) -> None:
    assert variable in OPEN
    assert id in report


@pytest.fixture
def https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True


@pytest.mark.usefixtures("https")
def test_http_is_redirected_to_https_except_for_health_and_metrics(client: Client) -> None:
    assert client.get("/memory-logs").headers["Location"] == "https://testserver/memory-logs"
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_http_is_not_redirected_by_default(client: Client) -> None:
    assert client.get("/memory-logs").status_code == 200
