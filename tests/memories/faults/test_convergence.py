"""Whatever changes, deliveries, pauses, deaths and doubled events in whatever order: the index ends equal to
PostgreSQL, and meanwhile search never returns what was deleted or an older text."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory, delete_memory, update_memory
from memories.search.search import Query, search
from memories.text import searchable_text
from outbox.delivery.deliver import deliver
from outbox.events import ClaimedEvent
from outbox.models import Event, Status
from outbox.queue.claim import claim
from outbox.registry import handled_types, handler_of
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.published import free_events_of_lost_workers
from tests.support.tenants import new_tenant
from tests.support.workers import Worker, watch_chroma

pytestmark = pytest.mark.django_db(transaction=True)

# Few, so that a change is often one back to what was before.
TEXTS = st.sampled_from(["Bake bread", "Fix the login", "Fix the login redirect"])
AGENTS = st.sampled_from(["ada", "grace"])
CHANGES = st.fixed_dictionaries({}, optional={"task": TEXTS, "agent": AGENTS})
# Before and after: reading the rows, writing to Chroma (for a changed row two calls), the second look, settling.
BOUNDARIES = st.integers(min_value=1, max_value=10)


EMBED, INDEX, UNINDEX = (
    ["memory_log.stored", "memory_log.updated"],
    ["embedding.generated"],
    ["memory_log.deleted"],
)


class Stores(RuleBasedStateMachine):
    memories: Bundle[int] = Bundle("memories")
    # Paused workers that hold their claim, and those whose lease ran out: others have their events by now.
    workers: Bundle[Worker] = Bundle("workers")
    outlived: Bundle[Worker] = Bundle("outlived")

    def __init__(self) -> None:
        super().__init__()
        self.tenant = new_tenant()
        self.all: list[Worker] = []

    @initialize(target=memories)
    def have_two_that_wait_to_be_indexed(self) -> Any:
        ids = [self.create("Fix the login", "ada"), self.create("Bake bread", "ada")]
        self.deliver(EMBED, pause_at=100)
        return multiple(*ids)

    @rule(target=memories, task=TEXTS, agent=AGENTS)
    def create(self, task: str, agent: str) -> int:
        return create_memory(NewMemory(**self.tenant._asdict(), task=task, agent=agent)).id

    @rule(memory=memories, change=CHANGES, deliver=st.booleans())
    def update(self, memory: int, change: dict[str, str], deliver: bool) -> None:
        update_memory(memory, change)
        self.deliver_what_is_not_in_hand(deliver)

    @rule(memory=consumes(memories), deliver=st.booleans())
    def delete(self, memory: int, deliver: bool) -> None:
        delete_memory(memory)
        self.deliver_what_is_not_in_hand(deliver)

    @precondition(lambda self: waiting(EMBED))
    @rule(target=workers, pause_at=BOUNDARIES)
    def embed(self, pause_at: int) -> Any:
        return self.deliver(EMBED, pause_at)

    @precondition(lambda self: waiting(INDEX))
    @rule(target=workers, pause_at=BOUNDARIES)
    def index(self, pause_at: int) -> Any:
        return self.deliver(INDEX, pause_at)

    @precondition(lambda self: waiting(UNINDEX))
    @rule(target=workers, pause_at=BOUNDARIES)
    def unindex(self, pause_at: int) -> Any:
        return self.deliver(UNINDEX, pause_at)

    @rule(target=outlived, number=st.integers(0, 20), pause_at=BOUNDARIES)
    def deliver_an_old_event_again(self, number: int, pause_at: int) -> Any:
        events = Event.objects.filter(type__in=handled_types(), payload__user_id=self.tenant.user_id)
        if not (found := list(events.order_by("-id")[number : number + 1])):
            return multiple()
        return self._start(lambda: _handle(found[0]), pause_at)

    @rule(worker=consumes(workers), after=st.integers(0, 4))
    def kill(self, worker: Worker, after: int) -> None:
        worker.kill(after=after)
        free_events_of_lost_workers()

    @rule(target=outlived, worker=consumes(workers))
    def lose_the_lease(self, worker: Worker) -> Worker:
        free_events_of_lost_workers()
        return worker

    @rule(worker=st.one_of(consumes(workers), consumes(outlived)))
    def resume(self, worker: Worker) -> None:
        worker.resume()
        self.search_tells_the_truth()

    def search_tells_the_truth(self) -> None:
        rows = MemoryLog.objects.filter(user_id=self.tenant.user_id).in_bulk()
        for hit in search(Query(text="Fix the login", tenant=self.tenant, limit=50)):
            row = rows[hit.memory_log_id]
            assert hit.document == searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)

    def teardown(self) -> None:
        for worker in self.all:
            worker.resume()
            assert worker.error is None
        free_events_of_lost_workers()
        Event.objects.filter(status=Status.PENDING).update(available_at=Now())
        drain()
        assert_equal_stores(self.tenant)

    def deliver_what_is_not_in_hand(self, really: bool) -> None:
        if really:
            drain()
        self.search_tells_the_truth()

    def deliver(self, types: list[str], pause_at: int) -> Any:
        """By a worker that pauses somewhere in it, if it takes that many boundaries."""
        claimed = claim(types, batch=4, retries=4)
        if not claimed.events:  # they wait behind one that a paused worker has in hand
            return multiple()
        return self._start(lambda: deliver(claimed.token, claimed.events), pause_at)

    def _start(self, work: Callable[[], object], pause_at: int) -> Any:
        worker = Worker(work, pause_at=pause_at)
        self.all.append(worker)
        return worker if worker.paused else multiple()


def waiting(types: list[str]) -> bool:
    return Event.objects.filter(type__in=types, status=Status.PENDING).exists()


def _handle(event: Event) -> None:
    handler = handler_of(event.type)
    assert handler is not None
    again = ClaimedEvent(**{name: getattr(event, name) for name in ClaimedEvent._fields})
    handler([again])


@pytest.mark.timeout(400)
def test_the_stores_end_equal_and_search_never_lies(settings: Any) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 1000
    watch_chroma()
    run_state_machine_as_test(Stores, settings=EXAMPLES)  # type: ignore[no-untyped-call]


# Not shrunk: a failing run is a dozen steps, and each try of a shorter one takes half a second.
EXAMPLES = settings(
    max_examples=20,
    stateful_step_count=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
