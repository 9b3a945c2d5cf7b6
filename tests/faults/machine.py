"""The stores as a state machine: whatever happens in whatever order, they hold in the end what was written.

Workers pause and die between any two calls of a store. Meanwhile search never returns what was deleted, or an older
text.
"""

from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
)

from memories.index.client import DEPENDENCY as CHROMA
from memories.indexing import rebuild
from memories.indexing.fill import FillProgress
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory, delete_memory, update_memory
from memories.search.search import Query, search
from memories.tenants import Scope
from memories.text import searchable_text
from outbox import testing
from outbox.delivery.deliver import deliver
from outbox.events import ClaimedEvent
from outbox.models import Event
from outbox.operations import dead_letters, prune, replay
from outbox.queue import circuits
from outbox.queue.claim import claim
from outbox.registry import handled_types, handler_of
from semantix.recovery import aftermath
from tests.faults import snapshots
from tests.support.emptying import empty_the_tables
from tests.support.equality import assert_equal_stores
from tests.support.free_port import free_port
from tests.support.published import free_events_of_lost_workers, make_due
from tests.support.tenants import new_tenant
from tests.support.workers import Worker

# Few, so that a change is often one back to what was before.
TEXTS = st.sampled_from(["Bake bread", "Fix the login", "Fix the login redirect"])
AGENTS = st.sampled_from(["ada", "grace"])
CHANGES = st.fixed_dictionaries({}, optional={"task": TEXTS, "agent": AGENTS})
# Chooses one of the memories that there are.
WHICH = st.integers(0, 50)
# Before and after: reading the rows, writing to Chroma (for a changed row two calls), the second look, settling.
BOUNDARIES = st.integers(min_value=1, max_value=10)
# A rebuild has more of them.
BOUNDARIES_OF_REBUILD = st.integers(min_value=1, max_value=40)

EMBED, INDEX, UNINDEX = (
    ["memory_log.stored", "memory_log.updated"],
    ["embedding.generated"],
    ["memory_log.deleted"],
)
HANDLED = st.sampled_from([EMBED, INDEX, UNINDEX])

# The task and the agent of each memory.
State = dict[int, tuple[str, str]]


class RolledBack(Exception):
    pass


class Broken(Exception):
    pass


def break_down(*_events: object) -> None:
    raise Broken("this handler is broken for now")


class Stores(RuleBasedStateMachine):
    # Paused workers that hold their claim, and those whose lease ran out: others have their events by now. A paused
    # rebuild is one of these.
    workers: Bundle[Worker] = Bundle("workers")
    outlived: Bundle[Worker] = Bundle("outlived")

    def __init__(self) -> None:
        super().__init__()
        empty_the_tables(None)
        circuits.close_circuit(CHROMA)
        self.tenant = new_tenant()
        self.state: State = {}
        self.snapshot: State | None = None
        self.all: list[Worker] = []

    @initialize()
    def have_two_that_wait_to_be_indexed(self) -> None:
        self.create("Fix the login", "ada")
        self.create("Bake bread", "ada")
        self.deliver(EMBED, pause_at=100)

    # --- Writes ---------------------------------------------------------------------------------------------

    @rule(task=TEXTS, agent=AGENTS)
    def create(self, task: str, agent: str) -> None:
        row = create_memory(NewMemory(**self.tenant._asdict(), task=task, agent=agent))
        self.state[row.id] = (task, agent)

    @precondition(lambda self: self.state)
    @rule(which=WHICH, change=CHANGES, deliver=st.booleans())
    def update(self, which: int, change: dict[str, str], deliver: bool) -> None:
        memory = self.one(which)
        row = update_memory(memory, change)
        self.state[memory] = (row.task, row.agent)
        self.deliver_what_is_not_in_hand(deliver)

    @precondition(lambda self: self.state)
    @rule(which=WHICH, deliver=st.booleans())
    def delete(self, which: int, deliver: bool) -> None:
        memory = self.one(which)
        delete_memory(memory)
        del self.state[memory]
        self.deliver_what_is_not_in_hand(deliver)

    @precondition(lambda self: self.state)
    @rule(which=WHICH, change=CHANGES, deletes=st.booleans())
    def roll_back(self, which: int, change: dict[str, str], deletes: bool) -> None:
        with suppress(RolledBack), transaction.atomic():
            create_memory(NewMemory(**self.tenant._asdict(), task="Never stored", agent="ada"))
            update_memory(self.one(which), change)
            if deletes:
                delete_memory(self.one(which))
            raise RolledBack

    # --- Delivery, and what can happen to it ----------------------------------------------------------------

    @rule(target=workers, types=HANDLED, pause_at=BOUNDARIES)
    def deliver(self, types: list[str], pause_at: int) -> Any:
        """By a worker that pauses somewhere in it, if it takes that many boundaries."""
        claimed = claim(types, batch=4, retries=4)
        if not claimed.events:  # there are none, or they wait behind one that a paused worker has in hand
            return multiple()
        return self._start(lambda: deliver(claimed.token, claimed.events), pause_at)

    @rule(types=HANDLED)
    def fail(self, types: list[str]) -> None:
        with testing.handled(*types, by=break_down, batch=True):
            self._deliver_now(types)

    @rule(types=HANDLED)
    def fail_for_the_last_time(self, types: list[str]) -> None:
        with override_settings(OUTBOX_MAX_ATTEMPTS=1):
            self.fail(types)

    @rule(types=HANDLED)
    def have_chroma_away(self, types: list[str]) -> None:
        with override_settings(CHROMA_URL=f"http://127.0.0.1:{free_port()}"):
            self._deliver_now(types)
        circuits.close_circuit(CHROMA)

    @rule(worker=st.one_of(consumes(workers), consumes(outlived)), after=st.integers(0, 4))
    def crash(self, worker: Worker, after: int) -> None:
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

    # --- What an operator does --------------------------------------------------------------------------------

    @rule()
    def retry(self) -> None:
        dead_letters.retry(events=Event.objects.all(), by="the machine")
        make_due()

    @rule()
    def replay(self) -> None:
        replay.replay(events=Event.objects.filter(type__in=handled_types()))

    @rule(target=outlived, number=st.integers(0, 20), pause_at=BOUNDARIES)
    def deliver_an_old_event_again(self, number: int, pause_at: int) -> Any:
        events = Event.objects.filter(type__in=handled_types(), payload__user_id=self.tenant.user_id)
        if not (found := list(events.order_by("-id")[number : number + 1])):
            return multiple()
        return self._start(lambda: _handle(found[0]), pause_at)

    @rule(target=outlived, recreate=st.booleans(), pause_at=BOUNDARIES_OF_REBUILD)
    def rebuild(self, recreate: bool, pause_at: int) -> Any:
        return self._start(lambda: self._rebuild(recreate=recreate), pause_at)

    @rule()
    def prune(self) -> None:
        prune.prune(days=0)

    @rule()
    def take_a_snapshot(self) -> None:
        snapshots.take()
        self.snapshot = dict(self.state)

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def restore(self) -> None:
        """With everything else stopped, as the page says."""
        self._end_all()
        snapshots.restore()
        aftermath.adopt()
        call_command("rebuild_index", user_id=self.tenant.user_id, restart=True, json=True, stdout=StringIO())
        assert self.snapshot is not None
        self.state = dict(self.snapshot)
        self.search_tells_the_truth()

    # --- What must be true ------------------------------------------------------------------------------------

    def search_tells_the_truth(self) -> None:
        rows = MemoryLog.objects.filter(user_id=self.tenant.user_id).in_bulk()
        for hit in search(Query(text="Fix the login", tenant=self.tenant, limit=50)):
            row = rows[hit.memory_log_id]
            assert hit.document == searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)

    def teardown(self) -> None:
        try:
            self._end_all()
            self.retry()
            rebuild.run(rebuild.unfinished(Scope()), FillProgress())
            testing.drain(through_backoff=True)
            rows = MemoryLog.objects.filter(user_id=self.tenant.user_id)
            assert {row.id: (row.task, row.agent) for row in rows} == self.state
            assert_equal_stores(self.tenant)
        finally:
            snapshots.drop()

    # --- How ----------------------------------------------------------------------------------------------------

    def one(self, which: int) -> int:
        return sorted(self.state)[which % len(self.state)]

    def deliver_what_is_not_in_hand(self, really: bool) -> None:
        if really:
            testing.drain()
        self.search_tells_the_truth()

    def _deliver_now(self, types: list[str]) -> None:
        claimed = claim(types, batch=4, retries=4)
        deliver(claimed.token, claimed.events)

    def _rebuild(self, *, recreate: bool) -> None:
        with suppress(rebuild.RebuildRunning), rebuild.exclusive():
            filled = rebuild.unfinished(Scope(), recreate=recreate) or rebuild.start(
                Scope(), recreate=recreate
            )
            rebuild.run(filled, FillProgress())

    def _start(self, work: Callable[[], object], pause_at: int) -> Any:
        worker = Worker(work, pause_at=pause_at)
        self.all.append(worker)
        return worker if worker.paused else multiple()

    def _end_all(self) -> None:
        """Let every worker run to its end, and free what those that died had claimed."""
        for worker in self.all:
            worker.resume()
            assert worker.error is None, worker.error
        free_events_of_lost_workers()


def _handle(event: Event) -> None:
    handler = handler_of(event.type)
    assert handler is not None
    again = ClaimedEvent(**{name: getattr(event, name, False) for name in ClaimedEvent._fields})
    handler([again])
