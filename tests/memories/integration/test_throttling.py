"""THROTTLE_RATE: how often a key may ask, and an address without one."""

from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.test import Client

from tests.support.keys import client_with, new_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    caches["throttle"].clear()


def statuses(client: Client, times: int) -> list[int]:
    return [client.get("/memory-logs").status_code for _ in range(times)]


def test_a_key_that_asks_too_often_gets_429_and_a_time(settings: Any) -> None:
    settings.THROTTLE_RATE = "2/min"
    alice, bob = client_with(new_key("alice")), client_with(new_key("bob"))

    assert statuses(alice, 3) == [200, 200, 429]
    assert statuses(bob, 2) == [200, 200], "each key has its own count"

    answer = alice.get("/memory-logs")
    assert answer["Content-Type"] == "application/problem+json"
    assert 0 < int(answer["Retry-After"]) <= 60


def test_without_a_key_the_address_is_counted(settings: Any, client: Client) -> None:
    settings.THROTTLE_RATE = "1/min"

    assert statuses(client, 2) == [200, 429]
    assert client.get("/memory-logs", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_refused_keys_count_against_their_address(settings: Any) -> None:
    settings.THROTTLE_RATE, settings.SEMANTIX_AUTH = "2/min", "required"
    guessing, alice = client_with("a" * 8 + "." + "b" * 32), client_with(new_key("alice"))

    assert statuses(guessing, 3) == [401, 401, 429]
    assert statuses(Client(), 1) == [429], "without any key, from the same address"
    assert statuses(alice, 1) == [200], "who has a key does not answer for neighbours"

    answer = guessing.get("/memory-logs")
    assert answer["Content-Type"] == "application/problem+json"
    assert 0 < int(answer["Retry-After"]) <= 60


@pytest.mark.django_db(transaction=True)
def test_refused_keys_of_live_streams_count_too(settings: Any) -> None:
    settings.THROTTLE_RATE, settings.SEMANTIX_AUTH = "2/min", "required"
    guessing = client_with("a" * 8 + "." + "b" * 32)

    assert [guessing.get("/memory-logs/events").status_code for _ in range(3)] == [401, 401, 429]
    assert statuses(guessing, 1) == [429]


def test_a_caller_is_remembered_however_many_others_ask(settings: Any, client: Client) -> None:
    settings.THROTTLE_RATE = "1/min"
    assert statuses(client, 1) == [200]

    for number in range(1, 401):  # Django's own cache in memory remembers 300
        other = client.get(
            "/memory-logs", {"user_id": "nobody"}, REMOTE_ADDR=f"192.0.{number // 250}.{number % 250}"
        )
        assert other.status_code == 200

    assert statuses(client, 1) == [429]


def test_it_is_off_unless_set(client: Client) -> None:
    assert set(statuses(client, 20)) == {200}


def test_requests_pass_while_the_cache_is_away(settings: Any, client: Client) -> None:
    settings.THROTTLE_RATE = "1/min"
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = settings.CACHES | {"throttle": redis}

    assert statuses(client, 2) == [200, 200]


@pytest.mark.parametrize("rate", ["many", "10", "10/parsec"])
def test_a_check_refuses_a_value_that_is_not_a_rate(settings: Any, rate: str) -> None:
    settings.THROTTLE_RATE = rate

    assert "memories.E002" in {message.id for message in run_checks()}
