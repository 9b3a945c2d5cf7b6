"""The versions of deleted memories: how long they stay, and that the idempotent answer goes at once."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memories.models import IdempotentAnswer, MemoryVersion
from memories.records import history
from memories.schedules import prune_versions
from outbox.testing import drain
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def delete(cast: Cast, *, days_ago: int = 0) -> int:
    memory_id = int(cast.alice.remember()["id"])
    cast.alice.send("DELETE", f"/memory-logs/{memory_id}")
    moment = timezone.now() - timedelta(days=days_ago)
    MemoryVersion.objects.filter(pgh_obj_id=memory_id, pgh_label="deleted").update(pgh_created_at=moment)
    return memory_id


def kept() -> set[int]:
    return set(MemoryVersion.objects.values_list("pgh_obj_id", flat=True))


def test_versions_go_so_many_days_after_the_deletion(cast: Cast, settings: Any) -> None:
    settings.HISTORY_RETENTION_DAYS = 30
    old, young, alive = delete(cast, days_ago=31), delete(cast, days_ago=29), cast.alice.remember()["id"]

    assert prune_versions() == 2  # created and deleted

    assert old not in kept()
    assert kept() == {young, alive}


def test_versions_of_every_batch_go(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HISTORY_RETENTION_DAYS = 30
    monkeypatch.setattr(history, "BATCH", 1)
    for _ in range(3):
        delete(cast, days_ago=31)

    assert prune_versions() == 6


def test_versions_stay_for_ever_where_that_is_set(cast: Cast, settings: Any) -> None:
    settings.HISTORY_RETENTION_DAYS = None
    memory_id = delete(cast, days_ago=3000)

    assert prune_versions() == 0
    assert kept() == {memory_id}


def test_with_zero_days_the_versions_go_with_the_memory(cast: Cast, settings: Any) -> None:
    settings.HISTORY_RETENTION_DAYS = 0

    memory_id = delete(cast)

    assert kept() == set()
    assert cast.alice.get(f"/memory-logs/{memory_id}/history").status_code == 404


def test_an_answer_that_is_an_earlier_memory_goes_with_that_memory(cast: Cast) -> None:
    stored = cast.alice.remember(task="secret")
    drain()
    skipped = cast.alice.send(
        "POST", "/memory-logs?if_similar=skip", cast.alice.memory(task="secret"), **{"Idempotency-Key": "k"}
    )
    assert skipped.json()["id"] == stored["id"]
    cast.alice.send("DELETE", f"/memory-logs/{stored['id']}")

    assert not IdempotentAnswer.objects.exists()


def test_the_answer_of_the_idempotency_key_goes_with_the_memory(cast: Cast) -> None:
    key = {"Idempotency-Key": "once"}
    first = cast.alice.send("POST", "/memory-logs", cast.alice.memory(task="secret"), **key)
    cast.alice.send("DELETE", f"/memory-logs/{first.json()['id']}")

    assert not IdempotentAnswer.objects.exists()
    again = cast.alice.send("POST", "/memory-logs", cast.alice.memory(task="other"), **key)
    assert (again.status_code, again.json()["task"]) == (201, "other")
