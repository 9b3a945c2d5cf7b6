"""POST /memory-logs/batch: all or nothing."""

from typing import Any

import pytest

from memories.models import MemoryLog
from outbox import BULK
from outbox.models import Event
from outbox.testing import drain
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_are_stored_in_their_order_with_an_event_each_of_low_priority(cast: Cast) -> None:
    memories = [cast.alice.memory(task=f"Task {n}", raw_data={"n": n}) for n in range(20)]

    answer = cast.alice.send("POST", "/memory-logs/batch", memories)

    assert answer.status_code == 201
    ids = answer.json()["ids"]
    assert answer.json() == {"created": 20, "ids": ids}
    rows = MemoryLog.objects.in_bulk(ids)
    assert [rows[memory_id].task for memory_id in ids] == [memory["task"] for memory in memories]
    events = Event.objects.filter(type="memory_log.stored").order_by("id")
    assert [(int(event.aggregateid), event.priority) for event in events] == [(id, BULK) for id in ids]
    assert [event.payload["raw_data"] for event in events] == [{"n": n} for n in range(20)]
    drain()
    assert MemoryLog.objects.filter(indexed_version=1).count() == 20


def test_one_that_is_wrong_keeps_all_out_and_is_named_by_index(cast: Cast) -> None:
    memories: list[Any] = [cast.alice.memory() for _ in range(4)]
    del memories[1]["task"]
    memories[2] = memories[2] | {"agent": 7, "date": "tomorrow"}
    memories[3] = "not a memory"

    answer = cast.alice.send("POST", "/memory-logs/batch", memories)

    assert answer.status_code == 400
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert sorted(pointers) == ["/1/task", "/2/agent", "/2/date", "/3"]
    assert not MemoryLog.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize("body", [[], {}, {"memories": []}, "text", [[]] * 3])
def test_what_is_no_batch_is_refused(cast: Cast, body: Any) -> None:
    assert cast.alice.send("POST", "/memory-logs/batch", body).status_code == 400


def test_more_than_the_most_are_refused_with_the_number(cast: Cast, settings: Any) -> None:
    settings.BATCH_MAX_ITEMS = 3

    answer = cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory()] * 4)

    assert answer.status_code == 400
    assert "from 1 to 3 memories (BATCH_MAX_ITEMS); this one has 4" in answer.json()["detail"]


def test_its_cost_in_statements_does_not_grow(cast: Cast, django_assert_max_num_queries: Any) -> None:
    cast.alice.get("/memory-logs")  # the key is remembered
    cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory()])

    with django_assert_max_num_queries(8):
        cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory()] * 500)

    assert MemoryLog.objects.count() == 501


def test_one_of_anothers_keeps_all_out(cast: Cast) -> None:
    answer = cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory(), cast.bob.memory()])

    assert answer.status_code == 403
    assert not MemoryLog.objects.exists()


def test_a_batch_of_several_tenants_of_ones_own_is_taken(cast: Cast, settings: Any) -> None:
    settings.SEMANTIX_AUTH = "open"
    memories = [cast.alice.memory(), cast.bob.memory(), cast.charlie.memory()]

    answer = cast.alice.client.post(
        "/memory-logs/batch", memories, content_type="application/json", headers={"Authorization": ""}
    )

    assert answer.status_code == 201
    assert set(MemoryLog.objects.values_list("user_id", "project_id")) == {actor.tenant for actor in cast}


def test_numbers_beyond_64_bits_are_kept_as_they_are(cast: Cast) -> None:
    raw_data = {"many": 10**22, "few": 1e-300, "exact": 0.1}

    answer = cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory(raw_data=raw_data)])

    [memory_id] = answer.json()["ids"]
    assert MemoryLog.objects.get(id=memory_id).raw_data == raw_data
    assert Event.objects.get().payload["raw_data"] == raw_data
