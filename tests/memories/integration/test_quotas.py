"""QUOTA_MEMORIES, QUOTA_BYTES and QUOTA_WAITING_EVENTS: what one key may store and have waiting."""

from collections.abc import Iterator
from typing import Any

import pytest

from memories.auth import quotas
from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _count_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(quotas, "SECONDS_AT_THE_LIMIT", 0.0)
    quotas.forget()
    yield
    quotas.forget()


def create(cast: Cast, **more: Any) -> Any:
    return cast.alice.send("POST", "/memory-logs", cast.alice.memory(**more))


def test_without_a_quota_nothing_is_counted(cast: Cast) -> None:
    create(cast)

    assert not quotas._usages  # noqa: SLF001


def test_a_key_at_its_quota_of_memories_gets_507_and_what_to_do(cast: Cast, settings: Any) -> None:
    settings.QUOTA_MEMORIES = 2

    assert [create(cast).status_code for _ in range(3)] == [201, 201, 507]

    refused = create(cast)
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:semantix:problem:quota-exceeded"
    assert "QUOTA_MEMORIES" in refused.json()["detail"]
    assert "Delete memories" in refused.json()["detail"]
    assert MemoryLog.objects.count() == 2


def test_another_key_has_a_quota_of_its_own(cast: Cast, settings: Any) -> None:
    settings.QUOTA_MEMORIES = 1
    create(cast)

    assert create(cast).status_code == 507
    assert cast.bob.send("POST", "/memory-logs", cast.bob.memory()).status_code == 201


def test_every_way_to_store_is_counted(cast: Cast, settings: Any) -> None:
    settings.QUOTA_MEMORIES = 2
    alice = cast.alice
    create(cast)

    assert alice.send("POST", "/memory-logs/batch", [alice.memory()] * 2).status_code == 507
    assert alice.send("PUT", "/memory-logs/external/one", alice.memory()).status_code == 201
    assert alice.send("PUT", "/memory-logs/external/two", alice.memory()).status_code == 507
    said = alice.tenant._asdict() | {"role": "user", "content": "hello"}
    assert alice.send("POST", "/conversations/talk/turns", said).status_code == 507


def test_reading_changing_and_deleting_go_on_and_make_room(cast: Cast, settings: Any) -> None:
    settings.QUOTA_MEMORIES = 1
    path = f"/memory-logs/{create(cast).json()['id']}"
    assert create(cast).status_code == 507

    assert cast.alice.get(path).status_code == 200
    assert cast.alice.send("PATCH", path, {"task": "Bake bread"}).status_code == 200
    assert cast.alice.send("DELETE", path).status_code == 204

    assert create(cast).status_code == 201


def test_a_key_at_its_quota_of_bytes_stores_nothing_more(cast: Cast, settings: Any) -> None:
    settings.QUOTA_BYTES = 5_000
    big = {"text": " ".join(f"word-{number}" for number in range(1_000))}
    assert create(cast, raw_data={"text": "small"}).status_code == 201

    assert create(cast, raw_data=big).status_code == 507
    assert "QUOTA_BYTES" in create(cast, raw_data=big).json()["detail"]


def test_a_key_with_too_many_waiting_events_gets_429_until_they_are_delivered(
    cast: Cast, settings: Any
) -> None:
    settings.QUOTA_WAITING_EVENTS = 2
    assert [create(cast).status_code for _ in range(3)] == [201, 201, 429]
    refused = create(cast)
    assert refused.json()["type"] == "urn:semantix:problem:too-many-waiting"
    assert int(refused["Retry-After"]) > 0
    assert cast.charlie.send("POST", "/memory-logs", cast.charlie.memory()).status_code == 201

    drain()

    assert create(cast).status_code == 201


def test_the_same_request_again_gets_its_answer_although_the_quota_is_full(cast: Cast, settings: Any) -> None:
    settings.QUOTA_MEMORIES = 1
    key = {"Idempotency-Key": "once"}
    first = cast.alice.send("POST", "/memory-logs", cast.alice.memory(), **key)

    again = cast.alice.send("POST", "/memory-logs", cast.alice.memory(), **key)

    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


def test_counts_are_kept_for_a_while(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "SECONDS", 1000.0)
    settings.QUOTA_MEMORIES = 1000
    create(cast)
    [usage] = quotas._usages.values()  # noqa: SLF001

    create(cast)

    assert list(quotas._usages.values()) == [usage]  # noqa: SLF001
    assert usage.memories == 2
