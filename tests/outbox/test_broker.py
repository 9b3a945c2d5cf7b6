"""The relay, as django-q2's pusher uses it: dequeue() in a loop."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from select import select
from typing import Any

import pytest
from django.db import connection, transaction
from django_q.conf import Conf as ClusterConf
from django_q.models import OrmQ
from django_q.signals import post_execute_in_worker
from django_q.tasks import async_task
from pytest_django.fixtures import Settings

import outbox
from outbox import circuits, hands, ordering, packing, registry, settling
from outbox.broker import OutboxBroker, Task
from outbox.claiming import ID
from outbox.interprocess import Packages
from outbox.models import Circuit, Event, Relay
from outbox.pacing import Chore
from outbox.testing import handled
from outbox.wakeup import wake
from tests.outbox.published import (
    NOTED,
    TOGETHER,
    claim_all,
    expire_leases,
    let_due,
    publish,
    publish_all,
    status_of,
)
from tests.outbox_app.models import Effect
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Iterator[OutboxBroker]:
    broker = OutboxBroker()
    yield broker
    broker.listener.close()


@pytest.fixture
def warm(broker: OutboxBroker) -> OutboxBroker:
    """One that has looked at everything and listens."""
    while broker.dequeue() or not broker.listener.hears:
        pass
    return broker


def packages(tasks: list[Task]) -> list[dict[str, Any]]:
    return [Packages.loads(package) for _, package in tasks]


def run(tasks: list[Task]) -> None:
    """As a worker does."""
    for package in packages(tasks):
        package["func"](*package["args"], **package["kwargs"])


def events_in(tasks: list[Task]) -> list[list[int]]:
    return [[row[ID] for row in package["args"][1]] for package in packages(tasks)]


def until_handed_out(broker: OutboxBroker) -> list[Task]:
    return wait_until(broker.dequeue)


def test_what_is_handed_out_delivers_and_needs_no_acknowledgement(broker: OutboxBroker) -> None:
    event = publish()

    tasks = broker.dequeue()

    assert [acknowledgement for acknowledgement, _ in tasks] == [None]
    (package,) = packages(tasks)
    assert (package["name"], package["save"]) == (f"test.noted #{event.id}", False)
    run(tasks)
    assert status_of(event) == ["delivered"]


def test_events_are_shared_out_among_the_workers(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    events = publish_all(NOTED, range(5))

    tasks = broker.dequeue()

    assert events_in(tasks) == [[e.id for e in events[:3]], [e.id for e in events[3:]]]
    assert packages(tasks)[0]["name"] == f"test.noted #{events[0].id} and 2 more"


def test_few_events_that_are_handled_together_stay_together(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    single = publish_all(NOTED, ["a", "b"])
    few = publish_all(TOGETHER, range(packing.TOGETHER))

    assert events_in(broker.dequeue()) == [[e.id for e in few], [single[0].id], [single[1].id]]

    many = publish_all(TOGETHER, range(1000, 1002 + 2 * packing.TOGETHER))
    half = len(many) // 2
    assert events_in(until_handed_out(broker)) == [[e.id for e in many[:half]], [e.id for e in many[half:]]]


def test_no_task_has_more_events_than_a_batch_and_the_rest_comes_at_once(
    broker: OutboxBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    settings.OUTBOX_BATCH_SIZE = 2
    settings.OUTBOX_POLL_SECONDS = 1000.0
    events = publish_all(NOTED, range(9))

    handed_out = [ids for _ in range(3) for ids in events_in(broker.dequeue())]

    assert handed_out == [[e.id for e in events[n : n + 2]] for n in (0, 2, 4, 6)] + [[events[8].id]]


def test_what_failed_before_goes_alone_and_the_rest_comes_at_once(
    broker: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_RETRY_BATCH_SIZE = 2
    settings.OUTBOX_POLL_SECONDS = 1000.0
    events = publish_all(TOGETHER, range(3))
    settling.failed(claim_all(TOGETHER).token, [event.id for event in events], ValueError("no"))
    let_due()

    assert events_in(broker.dequeue()) == [[events[0].id], [events[1].id]]
    assert events_in(broker.dequeue()) == [[events[2].id]]


def test_types_that_nobody_handles_here_are_left_alone(broker: OutboxBroker) -> None:
    event = publish()
    mine = registry.put(NOTED, None)
    try:
        assert broker.dequeue() == []
    finally:
        registry.put(NOTED, mine)
    assert status_of(event) == ["pending"]


def test_a_commit_wakes_the_relay_that_waits(warm: OutboxBroker, settings: Settings) -> None:
    """Polling would not find it: its time is far off."""
    settings.OUTBOX_POLL_SECONDS = 1000.0
    patient = OutboxBroker()
    patient.listener = warm.listener
    while patient.dequeue():
        pass
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(_publish_and_close)
        tasks = until_handed_out(patient)

    assert events_in(tasks) == [[published.result().id]]


def test_a_commit_is_answered_with_what_is_new_and_a_wake_with_all(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    warm: OutboxBroker = request.getfixturevalue("warm")
    assert warm.dequeue() == []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # as if its NOTIFY was lost
        unheard = publish()
    new = publish()

    assert events_in(until_handed_out(warm)) == [[new.id]]
    assert warm.dequeue() == []
    wake()
    assert events_in(until_handed_out(warm)) == [[unheard.id]]


def test_when_a_poll_is_due_what_is_new_goes_first(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    warm: OutboxBroker = request.getfixturevalue("warm")
    warm._poll = Chore(0.0)  # noqa: SLF001 - due whenever it is asked, and yet waited for
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        unheard = publish()
    new = publish()
    wait_until(lambda: select([warm.listener._connection], [], [], 5)[0])  # noqa: SLF001

    assert events_in(warm.dequeue()) == [[new.id]]
    assert events_in(warm.dequeue()) == [[unheard.id]]


def _publish_and_close() -> Event:
    try:
        return publish()
    finally:
        connection.close()


def test_dequeue_returns_within_about_a_second_for_the_cluster_to_stop(
    warm: OutboxBroker, settings: Settings
) -> None:
    """And not only when its time to poll has come."""
    settings.OUTBOX_POLL_SECONDS = 1000.0

    assert warm.dequeue() == []


def test_without_listen_it_polls(settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    settings.OUTBOX_POLL_SECONDS = 0.05
    broker = OutboxBroker()
    broker.dequeue()
    event = publish()

    assert events_in(until_handed_out(broker)) == [[event.id]]
    assert not broker.listener.hears
    assert Relay.objects.get().wakeup == "poll"


def test_where_it_only_polls_what_follows_an_event_is_looked_for_soon(settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    settings.OUTBOX_POLL_SECONDS = 1000.0
    broker = OutboxBroker()
    chain = [publish(id=1) for _ in range(3)]

    for event in chain:
        tasks = until_handed_out(broker)
        assert events_in(tasks) == [[event.id]]
        run(tasks)


def test_it_looks_no_more_often_than_it_is_told_to(settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    settings.OUTBOX_POLL_SECONDS = 1000.0
    broker = OutboxBroker()
    while broker.dequeue():
        pass
    publish()

    assert broker.dequeue() == []


def test_it_gives_a_sign_of_life(warm: OutboxBroker) -> None:
    warm.beat()

    relay = Relay.objects.get()
    assert (relay.id, relay.wakeup) == (warm.id, "listen")
    assert str(relay) == f"{relay.host}:{relay.pid}"


@pytest.fixture
def _long_backoff(settings: Settings) -> None:
    settings.OUTBOX_BACKOFF_BASE_SECONDS = settings.OUTBOX_BACKOFF_CAP_SECONDS = 1e7


@pytest.mark.usefixtures("_long_backoff")
def test_it_frees_what_lost_workers_held(broker: OutboxBroker) -> None:
    event = publish()
    claim_all()
    expire_leases()

    assert broker.dequeue() == []
    assert status_of(event) == ["pending"]


@pytest.mark.usefixtures("_long_backoff")
def test_it_frees_what_a_worker_was_killed_with(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, other = publish(), publish()
    claimed = claim_all()
    monkeypatch.setattr(hands, "left", lambda: [hands.Given(claimed.token, [event.id])])

    assert broker.dequeue() == []
    assert status_of(event, other) == ["pending", "claimed"]


def test_it_sets_aside_what_jams_the_way(broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "WORTHWHILE", 5)
    publish_all(NOTED, ["one"] * 10)

    broker.dequeue()

    assert Event.objects.filter(set_aside_until__isnull=False).count() == 9


# --- Ordinary tasks of django-q2 ----------------------------------------------------------------------


def test_ordinary_tasks_come_along_one_after_the_other_without_waiting(
    warm: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    for number in range(3):
        async_task("operator.neg", number)

    tasks: list[Task] = []
    while len(tasks) < 3:
        tasks += warm.dequeue()

    assert [package["args"] for package in packages(tasks)] == [(0,), (1,), (2,)]
    for acknowledgement, _ in tasks:
        warm.acknowledge(acknowledgement)
    assert not OrmQ.objects.exists()


def test_ordinary_tasks_without_end_hold_back_no_event(warm: OutboxBroker, settings: Settings) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    async_task("operator.neg", 1)
    wait_until(warm.dequeue)
    event = publish()

    def one_more() -> list[Task]:
        async_task("operator.neg", 1)
        return [task for task in warm.dequeue() if task[0] is None]

    assert events_in(wait_until(one_more)) == [[event.id]]


def test_a_task_that_another_cluster_took_first_is_nothing(
    warm: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-q2's own dequeue() answers None then."""
    from django_q.brokers.orm import ORM

    async_task("operator.neg", 1)
    monkeypatch.setattr(ORM, "dequeue", lambda self: None)

    assert warm.dequeue() == []


# --- Probes -------------------------------------------------------------------------------------------


def open_oven() -> None:
    circuits.open_circuit(outbox.Unavailable("oven", "cold"))


def end_pause() -> None:
    Circuit.objects.update(open_until="2000-01-01T00:00Z")


def test_after_the_pause_one_event_tries(broker: OutboxBroker) -> None:
    first, second = publish_all("test.baked", range(2))
    open_oven()
    assert broker.dequeue() == []

    end_pause()
    tasks = until_handed_out(broker)

    assert events_in(tasks) == [[first.id]]
    assert packages(tasks)[0]["kwargs"]["probing"] == "oven"
    run(tasks)
    assert Circuit.objects.get().opened_at is None
    assert events_in(until_handed_out(broker)) == [[second.id]]


def test_an_event_that_failed_before_tries_where_there_is_no_other(broker: OutboxBroker) -> None:
    event = publish("test.baked")
    settling.failed(claim_all("test.baked").token, [event.id], ValueError("no"))
    let_due()
    open_oven()
    end_pause()

    assert events_in(until_handed_out(broker)) == [[event.id]]


def test_where_nothing_waits_the_next_event_will_find_out(broker: OutboxBroker) -> None:
    open_oven()
    end_pause()

    wait_until(lambda: broker.dequeue() == [] and Circuit.objects.get().opened_at is None)


def test_a_long_outage_costs_one_try_a_pause_and_moves_no_other_row(
    broker: OutboxBroker, settings: Settings
) -> None:
    """However long it lasts: rows that wait are not written again and again."""
    settings.OUTBOX_CIRCUIT_BASE_SECONDS = 100.0
    events = publish_all("test.baked", range(50))
    with handled("test.baked", by=_away, needs=["oven"]):
        run(until_handed_out(broker))
        versions = _row_versions()
        for _ in range(3):
            for _ in range(3):
                assert broker.dequeue() == []
            end_pause()
            run(until_handed_out(broker))

    changed = {id for id, version in _row_versions().items() if version != versions[id]}
    assert changed == {events[0].id}
    assert Circuit.objects.get().failures == 4
    assert set(Event.objects.values_list("attempts", flat=True)) == {0}


def _away(event: outbox.ClaimedEvent) -> None:
    raise outbox.Unavailable("oven", "cold")


def _row_versions() -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text::bigint FROM outbox_event")
        return dict(cursor.fetchall())


# --- The database going away --------------------------------------------------------------------------


def _cut_connections() -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    other.close()


def test_a_database_that_went_away_is_waited_for(warm: OutboxBroker) -> None:
    event = publish()
    _cut_connections()

    assert events_in(until_handed_out(warm)) == [[event.id]]
    wait_until(lambda: warm.dequeue() or warm.listener.hears)


def test_where_it_answers_with_an_error_it_is_asked_again(broker: OutboxBroker) -> None:
    event = publish()
    _execute("ALTER TABLE django_q_ormq RENAME TO gone")
    try:
        assert broker.dequeue() == []
    finally:
        _execute("ALTER TABLE gone RENAME TO django_q_ormq")

    assert events_in(until_handed_out(broker)) == [[event.id]]


def test_what_was_claimed_before_it_went_away_is_handed_out(broker: OutboxBroker) -> None:
    event = publish("test.baked")
    open_oven()
    end_pause()
    _execute("ALTER TABLE django_q_ormq RENAME TO gone")
    try:
        assert events_in(until_handed_out(broker)) == [[event.id]]
    finally:
        _execute("ALTER TABLE gone RENAME TO django_q_ormq")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# --- What django-q2 asks of a broker ------------------------------------------------------------------


def test_a_copy_in_another_process_has_a_connection_of_its_own(warm: OutboxBroker) -> None:
    copy = pickle.loads(pickle.dumps(warm))

    assert copy.list_key == warm.list_key
    assert not copy.listener.hears
    assert warm.listener.hears


def test_it_says_what_it_is_and_whether_the_database_answers(broker: OutboxBroker) -> None:
    assert broker.ping()
    assert broker.info() == "Outbox (PostgreSQL)"


def test_a_worker_runs_what_the_package_names(broker: OutboxBroker) -> None:
    """As django-q2 does it, with the time limit and all."""
    event = publish()
    run(broker.dequeue())

    assert Effect.objects.get().event == event.id


def test_the_events_of_a_task_that_succeeded_go_no_further_with_its_result(broker: OutboxBroker) -> None:
    """They are kept with one that failed, for who looks at it."""
    publish()
    [package] = packages(broker.dequeue())
    for success, kept in ((False, package["args"]), (True, ())):
        task = {**package, "success": success}
        post_execute_in_worker.send(sender="django_q", func=package["func"], task=task)
        assert task["args"] == kept
