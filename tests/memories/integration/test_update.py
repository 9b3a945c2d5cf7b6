"""Changing and deleting a memory: row, version, event and index."""

from datetime import date as Date
from typing import Any

import pytest

from memories.filters import EVERYTHING, Filters
from memories.models import MemoryLog, MemoryVersion
from memories.records.services import NewMemory, VersionConflict, create_memory, delete_memory, update_memory
from memories.search.results import SearchHit
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.delivery.deliver import deliver
from outbox.models import Event, Status
from outbox.queue.claim import claim
from outbox.registry import handled_types
from outbox.testing import captured_events, drain
from tests.support.indexed import held
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, task: str = "Fix the login redirect", **raw_data: object) -> MemoryLog:
    return create_memory(NewMemory(**tenant._asdict(), task=task, agent="claude", raw_data=dict(raw_data)))


def test_a_changed_text_is_embedded_again_and_found() -> None:
    row = remember(new_tenant())
    drain()

    changed = update_memory(row.id, {"task": "Bake sourdough bread"})
    drain()

    assert changed.version == 2
    assert changed.updated_at > row.updated_at
    hits = search(Query(text="sourdough bread", tenant=row.tenant, mode=Mode.VECTOR))
    assert [hit.document.splitlines()[0] for hit in hits] == ["Bake sourdough bread"]


def test_a_change_takes_two_statements_and_a_transaction_and_a_deletion_one_more(
    django_assert_num_queries: Any,
) -> None:
    # Each is on the way of a waiting client: BEGIN, the locked row, one statement for the row and its event, COMMIT.
    # A deletion also deletes the kept answers that hold the memory.
    row = remember(new_tenant())

    with django_assert_num_queries(4):
        update_memory(row.id, {"task": "Bake sourdough bread"})
    with django_assert_num_queries(5):
        delete_memory(row.id)


def test_a_change_beside_the_text_reaches_the_index_without_a_new_embedding() -> None:
    row = remember(new_tenant())
    drain()
    before = MemoryLog.objects.get(id=row.id)

    update_memory(row.id, {"date": Date(2020, 2, 29)})
    drain()

    after = MemoryLog.objects.get(id=row.id)
    entry = held(row)
    assert after.embedded_at == before.embedded_at
    assert after.indexed_version == 2
    assert entry is not None
    assert (entry["date"], entry["version"]) == ("2020-02-29", 2)


def deliver_once() -> None:
    claimed = claim(handled_types(), batch=100, retries=100)
    deliver(claimed.token, [row.event() for row in claimed.fresh])


def found(tenant: Tenant, text: str, filters: Filters = EVERYTHING) -> list[SearchHit]:
    return search(Query(text=text, tenant=tenant, mode=Mode.VECTOR, filters=filters))


def test_while_the_index_lags_behind_a_change_of_the_text_it_is_found_once_it_is_embedded() -> None:
    row = remember(new_tenant())
    drain()
    update_memory(row.id, {"task": "Bake sourdough bread"})
    assert found(row.tenant, "sourdough bread") == []

    deliver_once()

    assert MemoryLog.objects.get(id=row.id).indexed_version == 1
    [lagging] = found(row.tenant, "sourdough bread")
    drain()
    [indexed] = found(row.tenant, "sourdough bread")
    assert lagging.document.splitlines()[0] == "Bake sourdough bread"
    assert lagging.similarity == pytest.approx(indexed.similarity, abs=1e-6)


def test_while_the_index_lags_behind_a_change_beside_the_text_it_is_found_as_it_is_now() -> None:
    row = remember(new_tenant())
    drain()
    today, leap_day = row.date, Date(2020, 2, 29)

    update_memory(row.id, {"date": leap_day})

    [lagging] = found(row.tenant, "login")
    assert lagging.metadata["date"] == "2020-02-29"
    assert found(row.tenant, "login", Filters(date_from=today)) == []


def test_the_event_of_a_change_tells_the_new_state() -> None:
    row = remember(new_tenant(), tags=["auth"])

    with captured_events() as events:
        update_memory(row.id, {"raw_data": {"tags": ["auth", "cookies"]}})

    [event] = events
    assert event.type == "memory_log.updated"
    assert event.payload == {
        "memory_log_id": row.id,
        "version": 2,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "task": row.task,
        "agent": "claude",
        "date": row.date.isoformat(),
        "raw_data": {"tags": ["auth", "cookies"]},
    }


def test_what_changes_nothing_makes_no_version_and_no_event() -> None:
    row = remember(new_tenant(), attempts=1)

    with captured_events() as events:
        same = update_memory(row.id, {"task": row.task, "raw_data": {"attempts": 1}})

    assert same.version == 1
    assert events == []
    assert MemoryVersion.objects.filter(pgh_obj=row.id).count() == 1


def test_one_and_true_are_not_the_same_json() -> None:
    row = remember(new_tenant(), attempts=1)

    assert update_memory(row.id, {"raw_data": {"attempts": True}}).version == 2


def test_a_change_meant_for_another_version_changes_nothing() -> None:
    row = remember(new_tenant())
    update_memory(row.id, {"agent": "ada"})

    with pytest.raises(VersionConflict, match="at version 2"):
        update_memory(row.id, {"agent": "grace"}, expected_version=1)
    with pytest.raises(VersionConflict):
        delete_memory(row.id, expected_version=1)

    assert MemoryLog.objects.get(id=row.id).agent == "ada"


def test_whose_a_memory_is_cannot_be_changed() -> None:
    row = remember(new_tenant())

    with pytest.raises(ValueError, match="project_id"):
        update_memory(row.id, {"project_id": "other"})


def test_a_deleted_memory_leaves_the_index_and_says_so() -> None:
    row = remember(new_tenant())
    drain()

    delete_memory(row.id)
    drain()

    assert held(row) is None
    types = Event.objects.filter(aggregateid=str(row.id)).order_by("id").values_list("type", flat=True)
    assert list(types)[-2:] == ["memory_log.deleted", "vector.deleted"]
    assert Event.objects.get(aggregateid=str(row.id), type="memory_log.deleted").payload == {
        "memory_log_id": row.id,
        "version": 1,
        "user_id": row.user_id,
        "project_id": row.project_id,
    }


def test_the_deletion_told_again_spares_a_memory_that_was_restored() -> None:
    row = remember(new_tenant())
    drain()
    before = MemoryLog.objects.get(id=row.id)
    delete_memory(row.id)
    drain()
    before.save(force_insert=True)

    Event.objects.filter(aggregateid=str(row.id), type="memory_log.deleted").update(status=Status.PENDING)
    drain()

    assert held(row) is not None


def test_a_memory_that_is_not_there_cannot_be_changed_or_deleted() -> None:
    with pytest.raises(MemoryLog.DoesNotExist):
        update_memory(0, {"task": "x"})
    with pytest.raises(MemoryLog.DoesNotExist):
        delete_memory(0)
