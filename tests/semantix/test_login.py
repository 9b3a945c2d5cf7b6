"""The admin's login cannot be tried without end, and failures are logged."""

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client

from semantix.console.login import ATTEMPTS_PER_ADDRESS, ATTEMPTS_PER_NAME

pytestmark = pytest.mark.django_db

REFUSED = "Too many attempts to log in. Try again in 15 minutes."
ELSEWHERE = "192.0.2.7"


@pytest.fixture(autouse=True)
def _olga() -> None:
    caches["throttle"].clear()
    User.objects.create_superuser("olga", password="right")


def log_in(name: str = "olga", password: str = "wrong", address: str = "127.0.0.1") -> str:
    """What the page says; empty after a success."""
    form = {"username": name, "password": password}
    answer = Client(REMOTE_ADDR=address).post("/admin/login/?next=/admin/", form)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_a_right_password_enters() -> None:
    assert log_in(password="right") == ""


def test_after_too_many_attempts_with_a_name_even_the_right_password_waits() -> None:
    for _ in range(ATTEMPTS_PER_NAME):
        assert REFUSED not in log_in()

    assert REFUSED in log_in(password="right")
    assert REFUSED in log_in(password="right", address=ELSEWHERE), "from any address"


def test_a_name_is_counted_in_whatever_case_it_is_written() -> None:
    for _ in range(ATTEMPTS_PER_NAME):
        log_in("OLGA")

    assert REFUSED in log_in(password="right")


def test_after_too_many_attempts_from_an_address_any_name_waits() -> None:
    for number in range(ATTEMPTS_PER_ADDRESS):
        assert REFUSED not in log_in(f"nobody-{number}")

    assert REFUSED in log_in(password="right")
    assert log_in(password="right", address=ELSEWHERE) == ""


def test_a_refused_attempt_computes_no_hash(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    for _ in range(ATTEMPTS_PER_NAME):
        log_in()
    settings.PASSWORD_HASHERS = ["no.such.Hasher"]  # whoever would compute a hash, fails

    assert REFUSED in log_in()


def test_a_success_lets_the_name_start_again() -> None:
    for _ in range(3):
        for _ in range(ATTEMPTS_PER_NAME - 1):
            log_in()
        assert log_in(password="right") == ""


def test_a_success_does_not_forgive_the_address_its_failures() -> None:
    for number in range(ATTEMPTS_PER_ADDRESS):
        log_in(f"nobody-{number}")
        log_in(password="right")

    assert REFUSED in log_in(password="right")


def test_failures_are_logged_with_name_and_address_and_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="semantix.login"):
        log_in("ol\nga", "top-secret", ELSEWHERE)

    assert f"Failed login as 'ol\\nga' from {ELSEWHERE}" in caplog.text
    assert "top-secret" not in caplog.text


def test_staff_enter_while_the_cache_is_away(settings: Any) -> None:
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = settings.CACHES | {"throttle": redis}

    assert log_in(password="right") == ""
