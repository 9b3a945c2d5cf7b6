"""A write that reaches Chroma after a newer one, by a process that may be dead: the stores end equal all the same."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction
from prometheus_client import REGISTRY

from memories.handlers import fill as fill_by_event
from memories.index import generations
from memories.index.ids import document_id
from memories.indexing import fill, migrate, rebuild, sync
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.tenants import Scope, Tenant
from outbox.delivery.deliver import deliver
from outbox.models import Event
from outbox.queue.claim import claim
from outbox.testing import captured_events, drain
from tests.support.equality import assert_equal_stores
from tests.support.indexed import collection_of
from tests.support.late_writer import LateWriter
from tests.support.published import free_events_of_lost_workers
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

EMBED, INDEX = ["memory_log.stored", "memory_log.updated"], ["embedding.generated"]

Change = Callable[[int], object]
CHANGES: list[Change] = [lambda memory_id: update_memory(memory_id, {"task": "Bake bread"}), delete_memory]


def remember(tenant: Tenant) -> list[MemoryLog]:
    rows = create_memories(NewMemory(**tenant._asdict(), task=f"Fix bug {n}", agent="ada") for n in range(3))
    drain()
    return rows


def deliver_once(types: list[str]) -> None:
    claimed = claim(types, batch=100, retries=100)
    deliver(claimed.token, claimed.events)


def restarted(tenant: Tenant) -> Generation:
    """The tenant's collection, which is to be filled in place from the first memory on."""
    rebuild.start(Scope(*tenant))
    return generations.of_tenant(tenant).write_target


@pytest.mark.parametrize("change", CHANGES, ids=["changed", "deleted"])
@pytest.mark.parametrize("when", ["before the next filling", "after the next filling"])
def test_the_last_write_of_a_killed_filling_does_not_stay_over_a_newer_version(
    change: Change, when: str
) -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    generation = restarted(tenant)

    with LateWriter(lambda: fill.fill([generation])) as killed:
        if when.startswith("before"):
            change(memory)
            drain()
        fill.fill([generations.of_tenant(tenant).write_target])  # another process goes on with it
        if when.startswith("after"):
            change(memory)
            drain()
        killed.land()
    drain(through_backoff=True)

    assert generations.of_tenant(tenant).write_target.position is None
    assert_equal_stores(tenant)


def test_a_killed_filling_in_place_that_nobody_continues_leaves_no_former_version() -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    generation = restarted(tenant)

    with LateWriter(lambda: fill.fill([generation])) as killed:
        update_memory(memory, {"task": "Bake bread"})
        drain()
        killed.land()
    migrate.migrate_models()
    drain(through_backoff=True)

    assert generations.of_tenant(tenant).write_target.position == 0
    assert_equal_stores(tenant)


def test_a_filling_that_another_process_took_moves_the_position_no_further() -> None:
    tenant = new_tenant()
    remember(tenant)
    generation = restarted(tenant)

    with LateWriter(lambda: fill.fill([generation]), lives=True) as first:
        rebuild.start(Scope(*tenant))
        first.land()

    left = generations.of_tenant(tenant).write_target
    assert (left.position, left.sent, left.fill_token) == (0, None, None)


def test_an_event_leaves_to_a_running_rebuild_what_that_fills() -> None:
    tenant = new_tenant()
    remember(tenant)
    generation = restarted(tenant)
    event = Event(payload={"generation_id": generation.pk})

    with rebuild.exclusive():
        fill_by_event(event)  # type: ignore[arg-type]  # only its payload is read
        assert generations.of_tenant(tenant).write_target.position == 0
    # PostgreSQL frees the lock a moment later: when it notices that its holder is gone.
    wait_until(lambda: not rebuild.is_running())
    fill_by_event(event)  # type: ignore[arg-type]
    drain()  # on a busy machine, the event ends before the filling

    assert generations.of_tenant(tenant).write_target.position is None


def test_a_worker_that_wrote_late_over_a_filling_writes_again() -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    update_memory(memory, {"task": "Bake bread"})
    deliver_once(EMBED)

    with LateWriter(partial(deliver_once, INDEX), lives=True) as late:
        update_memory(memory, {"task": "Bake a cake"})
        deliver_once(EMBED)
        fill.fill([restarted(tenant)])  # writes the newest version, and records that it is indexed
        late.land()
    drain()

    assert_equal_stores(tenant)


def test_the_filling_of_a_replaced_collection_hides_no_change_from_its_successor() -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    replaced = restarted(tenant)
    fill.fill([generations.begin(tenant)])
    update_memory(memory, {"task": "Bake bread"})
    deliver_once(EMBED)

    fill.fill([replaced])
    drain()

    assert_equal_stores(tenant)


@pytest.mark.parametrize("change", CHANGES, ids=["changed", "deleted"])
def test_the_last_write_of_a_killed_worker_does_not_stay_over_a_newer_version(change: Change) -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    update_memory(memory, {"task": "Bake a cake"})
    deliver_once(EMBED)

    with LateWriter(partial(deliver_once, INDEX)) as killed:
        free_events_of_lost_workers()
        drain()
        change(memory)
        drain()
        killed.land()
    drain(through_backoff=True)

    assert_equal_stores(tenant)


def test_a_recheck_writes_only_what_differs() -> None:
    tenant = new_tenant()
    same, other = remember(tenant)[:2]
    publish_rechecks(tenant, [same.id, other.id])
    collection_of(tenant).update(ids=[document_id(other.id, tenant)], metadatas=[{"version": 7}])
    before = upserted()

    with captured_events("vector.stored") as told:
        drain(through_backoff=True)

    assert upserted() == before + 1
    assert told == []
    assert_equal_stores(tenant)


def test_a_recheck_takes_no_news_from_an_event_of_the_memory() -> None:
    tenant = new_tenant()
    memory = remember(tenant)[0].id
    update_memory(memory, {"task": "Bake bread"})
    deliver_once(EMBED)
    publish_rechecks(tenant, [memory])

    with captured_events("vector.stored") as told:
        drain(through_backoff=True)

    assert [event.aggregateid for event in told] == [str(memory)]
    assert_equal_stores(tenant)


def publish_rechecks(tenant: Tenant, memory_ids: list[int]) -> None:
    with transaction.atomic():
        sync.publish_rechecks(dict.fromkeys(memory_ids, tenant))


def upserted() -> float:
    return REGISTRY.get_sample_value("semantix_index_upserted_vectors_total") or 0.0
