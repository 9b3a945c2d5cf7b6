"""Idempotency-Key: sent again, a request is answered again and not done again."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import connection, transaction

from memories.models import IdempotentAnswer, MemoryLog
from memories.records import idempotency
from outbox.models import Event
from tests.support.processes import environment
from tests.support.two_tenants import Actor, Cast
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


def store(actor: Actor, key: str, body: Any = None, path: str = "/memory-logs") -> Any:
    return actor.send("POST", path, body or actor.memory(), **{"Idempotency-Key": key})


def test_the_same_request_is_answered_again_and_stored_once(cast: Cast) -> None:
    first, again = store(cast.alice, "one"), store(cast.alice, "one")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again["Location"] == first["Location"]
    assert again["ETag"] == first["ETag"]
    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert MemoryLog.objects.count() == Event.objects.count() == 1


def test_the_order_of_keys_does_not_make_another_request(cast: Cast) -> None:
    body = cast.alice.memory(raw_data={"a": 1, "b": 2})
    turned = dict(reversed(body.items())) | {"raw_data": {"b": 2, "a": 1}}

    assert store(cast.alice, "one", body).json() == store(cast.alice, "one", turned).json()


def test_another_body_or_path_under_the_key_is_refused(cast: Cast) -> None:
    body = cast.alice.memory()
    store(cast.alice, "one", body)

    other_body = store(cast.alice, "one", body | {"task": "Bake bread"})
    other_path = store(cast.alice, "one", [body], path="/memory-logs/batch")

    assert (other_body.status_code, other_path.status_code) == (422, 422)
    assert other_body.json()["type"] == "urn:semantix:problem:idempotency-key-reused"
    assert MemoryLog.objects.count() == 1


def test_each_tenant_has_keys_of_its_own(cast: Cast) -> None:
    answers = [store(actor, "one") for actor in cast]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 3


def test_a_refused_request_leaves_its_key_free(cast: Cast) -> None:
    assert store(cast.alice, "one", {"task": "?"}).status_code == 400

    assert store(cast.alice, "one").status_code == 201


def test_a_batch_is_stored_once_too(cast: Cast) -> None:
    batch = [cast.alice.memory(), cast.alice.memory()]

    first = store(cast.alice, "one", batch, path="/memory-logs/batch")
    again = store(cast.alice, "one", batch, path="/memory-logs/batch")

    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    assert MemoryLog.objects.count() == 2


@pytest.mark.parametrize("key", ["", " ", "k" * 201, "a\x01b"])
def test_a_key_that_is_none_is_refused(cast: Cast, key: str) -> None:
    assert store(cast.alice, key).status_code == 400


def test_while_the_first_is_being_worked_on_the_second_is_told_to_come_back(cast: Cast) -> None:
    keyed = idempotency.IdempotentRequest(cast.alice.tenant, "one", "")
    with ThreadPoolExecutor(1) as other, transaction.atomic():
        idempotency._claim(keyed)  # noqa: SLF001

        answer = other.submit(_in_a_connection_of_its_own, store, cast.alice, "one").result()

    assert answer.status_code == 409
    assert answer["Retry-After"] == "1"
    assert store(cast.alice, "one").status_code == 201


def test_a_hundred_at_once_store_one(cast: Cast) -> None:
    headers = {"Idempotency-Key": "one", "Authorization": cast.alice.client.defaults["HTTP_AUTHORIZATION"]}
    with (
        WebServer(**environment() | {"SEMANTIX_AUTH": "required"}) as server,
        httpx.Client(timeout=60) as client,
    ):

        def send(_number: int) -> httpx.Response:
            url, body = f"{server.url}/memory-logs", cast.alice.memory()
            return client.post(url, json=body, headers=headers, timeout=60)

        with ThreadPoolExecutor(100) as senders:
            answers = list(senders.map(send, range(100)))
        last = send(101)

    assert set(Counter(answer.status_code for answer in answers)) <= {201, 409}
    assert MemoryLog.objects.count() == Event.objects.filter(type="memory_log.stored").count() == 1
    stored = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert stored == {last.json()["id"]}
    assert last.headers["Idempotency-Replayed"] == "true"
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers if answer.is_success) == 1


def test_a_forgotten_answer_still_stores_nothing_twice(cast: Cast, settings: Any) -> None:
    store(cast.alice, "one")
    _age(timedelta(hours=settings.IDEMPOTENCY_HOURS, seconds=1))

    answer = store(cast.alice, "one")

    assert answer.status_code == 422
    assert MemoryLog.objects.count() == 1


def test_a_forgotten_batch_frees_its_key(cast: Cast, settings: Any) -> None:
    batch = [cast.alice.memory()]
    store(cast.alice, "one", batch, path="/memory-logs/batch")
    _age(timedelta(hours=settings.IDEMPOTENCY_HOURS, seconds=1))

    assert "Idempotency-Replayed" not in store(cast.alice, "one", batch, path="/memory-logs/batch")


def test_what_is_given_again_no_longer_is_deleted_and_nothing_else(
    cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "BATCH", 2)
    for number in range(5):
        store(cast.alice, f"old {number}")
    _age(timedelta(hours=settings.IDEMPOTENCY_HOURS, seconds=1))
    store(cast.alice, "new")

    assert idempotency.forget_expired() == 5

    assert list(IdempotentAnswer.objects.values_list("key", flat=True)) == ["new"]


def _age(by: timedelta) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE idempotent_answers SET created_at = created_at - %s", [by])


def _in_a_connection_of_its_own(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    finally:
        connection.close()
