"""expires_at: from then on a memory is gone from every read and every search; a schedule deletes it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from memories.models import MemoryLog
from memories.schedules import purge_expired
from outbox.models import Event
from outbox.testing import drain
from tests.support.indexed import collection_of
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)

LATER = (timezone.now() + timedelta(days=1)).isoformat()


def expire(memory_id: int) -> None:
    """As if its time had come."""
    MemoryLog.objects.filter(id=memory_id).update(expires_at=timezone.now() - timedelta(seconds=1))


def found(cast: Cast, mode: str) -> list[int]:
    body = {**cast.alice.tenant._asdict(), "query": "xylophone", "mode": mode}
    answer = cast.alice.send("POST", "/memory-logs/search", body)
    assert answer.status_code == 200, answer.content
    return [hit["memory_log_id"] for hit in answer.json()]


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_no_search_finds_it_though_chroma_still_has_it(cast: Cast, mode: str) -> None:
    expiring, staying = cast.alice.remember(task="xylophone one"), cast.alice.remember(task="xylophone two")
    drain()
    assert set(found(cast, mode)) == {expiring["id"], staying["id"]}

    expire(expiring["id"])

    assert found(cast, mode) == [staying["id"]]
    assert collection_of(cast.alice.tenant).count() == 2


def test_no_read_shows_it(cast: Cast) -> None:
    memory_id = cast.alice.remember()["id"]
    expire(memory_id)

    path = f"/memory-logs/{memory_id}"
    assert cast.alice.get(path).status_code == 404
    assert cast.alice.send("PATCH", path, {"task": "kept"}).status_code == 404
    assert cast.alice.send("DELETE", path).status_code == 404
    assert cast.alice.get("/memory-logs").json()["results"] == []


def test_the_schedule_deletes_it_from_both_stores_and_listeners_hear_of_it(cast: Cast) -> None:
    memory_id = cast.alice.remember()["id"]
    staying = cast.alice.remember(expires_at=LATER)["id"]
    drain()
    expire(memory_id)

    assert purge_expired() == 1
    drain()

    assert list(MemoryLog.objects.values_list("id", flat=True)) == [staying]
    assert collection_of(cast.alice.tenant).count() == 1
    event = Event.objects.get(type="memory_log.expired")
    assert event.payload == {"memory_id": memory_id, **cast.alice.tenant._asdict()}


def test_it_is_set_on_create_changed_by_patch_and_taken_away_by_null(cast: Cast) -> None:
    stored = cast.alice.remember(expires_at=LATER)
    assert parse_datetime(stored["expires_at"]) == parse_datetime(LATER)
    path = f"/memory-logs/{stored['id']}"

    put = cast.alice.send("PUT", path, {"task": "other", "agent": "ada"}).json()
    assert put["expires_at"] == stored["expires_at"]

    changed = cast.alice.send("PATCH", path, {"expires_at": None}).json()
    assert changed["expires_at"] is None
    assert cast.alice.get(path).json()["expires_at"] is None


def test_a_batch_takes_it(cast: Cast) -> None:
    body: list[dict[str, Any]] = [cast.alice.memory(expires_at=LATER), cast.alice.memory()]

    ids = cast.alice.send("POST", "/memory-logs/batch", body).json()["ids"]

    expiring = MemoryLog.objects.in_bulk(ids)
    assert [expiring[id].expires_at is not None for id in ids] == [True, False]


@pytest.mark.parametrize("given", ["2020-01-01T00:00:00Z", "tomorrow", 5, True])
def test_a_moment_that_is_past_or_none_is_refused(cast: Cast, given: Any) -> None:
    refused = cast.alice.send("POST", "/memory-logs", cast.alice.memory(expires_at=given))

    assert refused.status_code == 400
    assert "expires_at" in str(refused.json()["errors"])
    assert not MemoryLog.objects.exists()


def test_a_default_for_all_memories(cast: Cast, settings: Any) -> None:
    settings.MEMORY_TTL_DAYS = 2

    by_default, named = cast.alice.remember(), cast.alice.remember(expires_at=LATER)

    left = parse_datetime(by_default["expires_at"]) - timezone.now()  # type: ignore[operator]
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)
    assert parse_datetime(named["expires_at"]) == parse_datetime(LATER)
