"""A worker that pauses or dies between any two lines of a handler: the stores end equal all the same."""

from collections.abc import Callable

import pytest

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.tenants import Tenant
from outbox.delivery.deliver import deliver
from outbox.queue.claim import claim
from outbox.registry import handled_types
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.published import free_events_of_lost_workers
from tests.support.tenants import new_tenant
from tests.support.workers import Worker, watch_chroma

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant) -> list[int]:
    new = (NewMemory(**tenant._asdict(), task=f"Fix the login {n}", agent="ada") for n in range(2))
    return [row.id for row in create_memories(new)]


def stored(tenant: Tenant) -> None:
    remember(tenant)


def embedded(tenant: Tenant) -> None:
    remember(tenant)
    deliver_once()


def changed(tenant: Tenant) -> None:
    ids = remember(tenant)
    drain()
    update_memory(ids[0], {"task": "Bake bread"})
    update_memory(ids[1], {"agent": "grace"})


def deleted(tenant: Tenant) -> None:
    ids = remember(tenant)
    drain()
    delete_memory(ids[0])


def deliver_once() -> None:
    claimed = claim(handled_types(), batch=100, retries=100)
    for rows in [claimed.fresh, *([row] for row in claimed.retries)]:
        deliver(claimed.token, [row.event() for row in rows])


@pytest.mark.parametrize("situation", [stored, embedded, changed, deleted])
def test_wherever_a_worker_dies_the_stores_end_equal(situation: Callable[[Tenant], None]) -> None:
    watch_chroma()
    for boundary in range(1, 200):
        tenant = new_tenant()
        situation(tenant)

        worker = Worker(deliver_once, pause_at=boundary, in_transactions=True)
        if not worker.paused:
            break
        worker.kill()
        free_events_of_lost_workers()
        drain()

        assert_equal_stores(tenant)
    assert boundary > 10
    assert worker.error is None


def delete(memory_id: int) -> None:
    delete_memory(memory_id)


def change_the_text(memory_id: int) -> None:
    update_memory(memory_id, {"task": "Bake bread"})


def change_beside_the_text(memory_id: int) -> None:
    update_memory(memory_id, {"agent": "grace"})


@pytest.mark.parametrize("change", [delete, change_the_text, change_beside_the_text])
@pytest.mark.parametrize("dies_after", [None, 2])
def test_what_happens_while_a_worker_pauses_outlasts_what_it_then_writes(
    change: Callable[[int], None], dies_after: int | None
) -> None:
    watch_chroma()
    for boundary in range(1, 200):
        tenant = new_tenant()
        embedded(tenant)

        indexing = Worker(deliver_once, pause_at=boundary)
        if not indexing.paused:
            break
        for row in MemoryLog.objects.filter(user_id=tenant.user_id):
            change(row.id)
        drain()
        if dies_after is None:
            indexing.resume()
        else:
            indexing.kill(after=dies_after)
        free_events_of_lost_workers()
        drain()

        assert_equal_stores(tenant)
    assert boundary > 5
