"""THROTTLE_RATE: how often a key may ask."""

from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.test import Client

from tests.support.keys import client_with, new_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_has_asked_yet() -> None:
    caches["throttle"].clear()


def statuses(client: Client, times: int) -> list[int]:
    return [client.get("/memory-logs").status_code for _ in range(times)]


def test_a_key_that_asks_too_often_is_told_when_to_come_again(settings: Any) -> None:
    settings.THROTTLE_RATE = "2/min"
    alice, bob = client_with(new_key("alice")), client_with(new_key("bob"))

    assert statuses(alice, 3) == [200, 200, 429]
    assert statuses(bob, 2) == [200, 200], "each key has its own count"

    answer = alice.get("/memory-logs")
    assert answer["Content-Type"] == "application/problem+json"
    assert 0 < int(answer["Retry-After"]) <= 60


def test_where_no_key_is_asked_an_address_is_counted(settings: Any, client: Client) -> None:
    settings.THROTTLE_RATE = "1/min"

    assert statuses(client, 2) == [200, 429]
    assert client.get("/memory-logs", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_it_is_off_unless_set(client: Client) -> None:
    assert set(statuses(client, 20)) == {200}


def test_a_cache_that_is_away_stops_nobody(settings: Any, client: Client) -> None:
    settings.THROTTLE_RATE = "1/min"
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = settings.CACHES | {"throttle": redis}

    assert statuses(client, 2) == [200, 200]


@pytest.mark.parametrize("rate", ["many", "10", "10/parsec"])
def test_a_rate_that_is_none_is_refused_at_the_start(settings: Any, rate: str) -> None:
    settings.THROTTLE_RATE = rate

    assert "memories.E002" in {message.id for message in run_checks()}
