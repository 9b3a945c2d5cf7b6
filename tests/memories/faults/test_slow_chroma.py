"""A Chroma that does not finish a batch in time: what it wrote is kept, and the rest goes in smaller pieces."""

from collections.abc import Iterator
from typing import Any

import pytest

from memories.index import generations
from memories.index import pace as pacing
from memories.index.client import bounded
from memories.indexing import fill
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memories, update_memory
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.models import Event
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.proxy import Proxy
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 120
BYTES_PER_SECOND = 125_000


@pytest.fixture(autouse=True)
def _new_pace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = vars(pacing.pace).copy()
    yield
    vars(pacing.pace).update(before)


@pytest.fixture
def slow(settings: Any) -> Iterator[Proxy]:
    """A write of all memories at once takes twice as long as the client waits. Chroma carries it out all the same."""
    settings.CHROMA_TIMEOUT_SECONDS = 2.0
    with Proxy(settings.CHROMA_URL) as proxy:
        proxy.trickle(bytes_per_second=BYTES_PER_SECOND)
        settings.CHROMA_URL = proxy.url
        yield proxy


def remember(tenant: Tenant) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug {n}", agent="ada") for n in range(COUNT)
    )


def indexed() -> int:
    return MemoryLog.objects.exclude(indexed_version=None).count()


def test_every_attempt_goes_further_until_all_is_indexed(slow: Proxy) -> None:
    tenant = new_tenant()
    remember(tenant)
    progress = [0]
    for _ in range(12):
        circuits.close_circuit("chroma")
        drain()
        progress.append(indexed())
        if progress[-1] == COUNT:
            break

    assert progress[-1] == COUNT
    assert progress == sorted(progress)
    assert pacing.pace.rows < COUNT
    assert not Event.objects.filter(status="dead").exists()
    assert Event.objects.filter(type="vector.stored").count() == COUNT


def test_a_write_that_lands_late_does_not_stay_over_a_newer_version_or_a_deletion(slow: Proxy) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()  # the first attempts time out, and land some time later

    slow.heal(hasten=False)
    change_and_land(slow, rows)

    assert_equal_stores(tenant)


def test_a_write_of_a_rebuild_that_lands_late_does_not_stay_either(slow: Proxy) -> None:
    slow.heal()
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    generation = generations.of_tenant(tenant).write_target
    Generation.objects.filter(pk=generation.pk).update(position=0)
    generation.refresh_from_db()
    slow.trickle(bytes_per_second=BYTES_PER_SECOND)
    with pytest.raises(Unavailable):
        fill.fill([generation])

    slow.heal(hasten=False)
    change_and_land(slow, rows)

    assert_equal_stores(tenant)


def change_and_land(slow: Proxy, rows: list[MemoryLog]) -> None:
    """Change and delete memories, index that, and only then let the late writes arrive."""
    for row in rows[:10]:
        update_memory(row.id, {"task": "Bake bread"})
    delete_memories([row.id for row in rows[10:20]])
    circuits.close_circuit("chroma")
    with bounded(60.0):  # on a busy machine, a write that is not slowed takes seconds, too
        drain()
        wait_until(lambda: slow.in_hand == 0)
        drain(through_backoff=True)  # also what is due later: the rows are compared again


def test_the_pace_halves_after_a_timeout_and_doubles_after_quick_calls() -> None:
    pace = pacing.Pace()
    pace.timed_out(1000)
    assert pace.rows == 500
    pace.timed_out(20)
    assert pace.rows == 10
    pace.timed_out(10)
    assert pace.rows == pacing.FEWEST_ROWS
    for _ in range(pacing.CALLS_TO_GROW):
        pace.answered(0.1, limit=10)
    assert pace.rows == 2 * pacing.FEWEST_ROWS
    for _ in range(pacing.CALLS_TO_GROW):
        pace.answered(9, limit=10)
    assert pace.rows == 2 * pacing.FEWEST_ROWS
