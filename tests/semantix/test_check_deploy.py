"""`manage.py check --deploy` with the settings of production, and what those change."""

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
def told_of_all_that_is_open(django_db_setup: None) -> str:
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
def test_what_is_left_open_is_told(told_of_all_that_is_open: str, variable: str, id: str) -> None:
    assert variable in OPEN
    assert id in told_of_all_that_is_open


@pytest.fixture
def https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True


@pytest.mark.usefixtures("https")
def test_http_is_sent_to_https_but_for_the_machines_beside_it(client: Client) -> None:
    assert client.get("/memory-logs").headers["Location"] == "https://testserver/memory-logs"
    assert client.get("/health/live").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_http_stays_http_where_nothing_else_is_said(client: Client) -> None:
    assert client.get("/memory-logs").status_code == 200
