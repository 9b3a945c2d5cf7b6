"""The relay, as django-q2's pusher uses it: dequeue() in a loop."""

import multiprocessing
import os
import pickle
import signal
import traceback
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django_q.conf import Conf as ClusterConf
from django_q.models import OrmQ
from django_q.signals import post_execute_in_worker
from django_q.tasks import async_task
from pytest_django.fixtures import Settings

import outbox
from outbox import registry
from outbox.cluster import task_owners, workers
from outbox.cluster.task_owners import TaskOwners
from outbox.cluster.workers import Workers
from outbox.delivery import outcomes
from outbox.models import Event, Failure, Relay
from outbox.queue import ordering
from outbox.relay import tasks
from outbox.relay.broker import OutboxBroker, Task
from tests.support.circuits import end_pause, open_oven
from tests.support.handed_out import events_in, packages, run, until_handed_out
from tests.support.outbox_app.models import Effect
from tests.support.published import (
    NOTED,
    TOGETHER,
    claim_all,
    expire_leases,
    make_due,
    publish,
    publish_all,
    status_of,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_task_of_events_delivers_them_and_needs_no_acknowledgement(broker: OutboxBroker) -> None:
    event = publish()

    tasks = broker.dequeue()

    assert [acknowledgement for acknowledgement, _ in tasks] == [None]
    (package,) = packages(tasks)
    assert (package["name"], package["save"]) == (f"test.noted #{event.id}", False)
    run(tasks)
    assert status_of(event) == ["delivered"]


def test_events_are_divided_among_the_workers(broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    events = publish_all(NOTED, range(5))

    tasks = broker.dequeue()

    assert events_in(tasks) == [[e.id for e in events[:3]], [e.id for e in events[3:]]]
    assert packages(tasks)[0]["name"] == f"test.noted #{events[0].id} and 2 more"


def test_few_events_of_a_batch_handler_are_one_task(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    single = publish_all(NOTED, ["a", "b"])
    few = publish_all(TOGETHER, range(tasks.SMALLEST_SPLIT))

    assert events_in(broker.dequeue()) == [[e.id for e in few], [single[0].id], [single[1].id]]

    many = publish_all(TOGETHER, range(1000, 1002 + 2 * tasks.SMALLEST_SPLIT))
    half = len(many) // 2
    assert events_in(until_handed_out(broker)) == [[e.id for e in many[:half]], [e.id for e in many[half:]]]


def test_a_task_has_at_most_a_batch_and_the_next_claim_follows_at_once(
    broker: OutboxBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    settings.OUTBOX_BATCH_SIZE = 2
    settings.OUTBOX_POLL_SECONDS = 1000.0
    events = publish_all(NOTED, range(9))

    handed_out = [ids for _ in range(3) for ids in events_in(broker.dequeue())]

    assert handed_out == [[e.id for e in events[n : n + 2]] for n in (0, 2, 4, 6)] + [[events[8].id]]


def test_a_backlog_of_one_priority_leaves_no_older_event_of_another_behind(
    broker: OutboxBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claims of a backlog begin where the last one ended. The older bulk events are taken after them."""
    monkeypatch.setattr(ClusterConf, "WORKERS", 1)
    settings.OUTBOX_BATCH_SIZE = 2
    settings.OUTBOX_POLL_SECONDS = 1000
    bulk = publish_all(NOTED, ["old"], priority=outbox.BULK)
    interactive = [publish_all(NOTED, [number])[0] for number in range(5)]

    claimed = [ids for _ in range(4) for ids in events_in(broker.dequeue())]

    assert claimed == [
        [interactive[0].id, interactive[1].id],
        [interactive[2].id, interactive[3].id],
        [interactive[4].id],
        [bulk[0].id],
    ]


def test_each_failed_event_is_a_task_of_its_own_and_the_next_claim_follows_at_once(
    broker: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_RETRY_BATCH_SIZE = 2
    settings.OUTBOX_POLL_SECONDS = 1000.0
    events = publish_all(TOGETHER, range(3))
    outcomes.failed(claim_all(TOGETHER).token, [event.id for event in events], ValueError("no"))
    make_due()

    assert events_in(broker.dequeue()) == [[events[0].id], [events[1].id]]
    assert events_in(broker.dequeue()) == [[events[2].id]]


def test_types_without_a_handler_here_are_not_claimed(broker: OutboxBroker) -> None:
    event = publish()
    mine = registry.put(NOTED, None)
    try:
        assert broker.dequeue() == []
    finally:
        registry.put(NOTED, mine)
    assert status_of(event) == ["pending"]


def test_it_renews_its_heartbeat(warm: OutboxBroker) -> None:
    warm.beat()

    relay = Relay.objects.get()
    assert (relay.id, relay.wakeup) == (warm.id, "listen")
    assert str(relay) == f"{relay.host}:{relay.pid}"


@pytest.fixture
def _long_backoff(settings: Settings) -> None:
    settings.OUTBOX_BACKOFF_BASE_SECONDS = settings.OUTBOX_BACKOFF_CAP_SECONDS = 1e7


@pytest.mark.usefixtures("_long_backoff")
def test_it_frees_events_with_an_expired_lease(broker: OutboxBroker) -> None:
    event = publish()
    claim_all()
    expire_leases()

    assert broker.dequeue() == []
    assert status_of(event) == ["pending"]


def hand_out_and_be_killed_at(place: int, broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is killed while it handles the event at this place of the task."""
    monkeypatch.setattr(ClusterConf, "WORKERS", 1)
    owners = TaskOwners()
    monkeypatch.setattr(task_owners, "_shared", owners)
    [package] = packages(until_handed_out(broker))
    number = package["kwargs"]["number"]

    def be_killed() -> None:
        with owners.running(number):
            owners.begin_unit(number, place, 1)
            os.kill(os.getpid(), signal.SIGKILL)

    worker = multiprocessing.get_context("fork").Process(target=be_killed)
    worker.start()
    worker.join()


def test_it_unparks_what_waits_behind_the_events_that_a_killed_worker_had_settled(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker died before it did so itself. The event would be parked for minutes."""
    first, in_hand = publish(id="one"), publish()
    hand_out_and_be_killed_at(1, broker, monkeypatch)
    behind = publish(id="one")
    Event.objects.filter(id=behind.id).update(parked_until=Now() + timedelta(minutes=5))
    Event.objects.filter(id=first.id).update(status="delivered", claim_token=None, relay=None)

    wait_until(lambda: broker.dequeue() or status_of(in_hand) == ["pending"])

    assert Event.objects.get(id=behind.id).parked_until is None


@pytest.mark.usefixtures("_long_backoff")
def test_it_frees_the_events_of_a_killed_worker(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [publish() for _ in range(3)]
    in_hand = events[1]
    hand_out_and_be_killed_at(1, broker, monkeypatch)
    wait_until(lambda: broker.dequeue() or status_of(in_hand) == ["pending"])

    assert status_of(*events) == ["claimed", "pending", "claimed"]
    assert [Event.objects.get(id=event.id).attempts for event in events] == [1, 1, 1]
    [failure] = Failure.objects.all()
    assert failure.event_id == in_hand.id


def test_it_returns_the_events_of_a_task_that_a_worker_took_and_did_not_begin(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was killed between the two. The events would wait until their lease ends."""
    event = publish()
    owners, known = TaskOwners(), Workers()
    monkeypatch.setattr(task_owners, "_shared", owners)
    monkeypatch.setattr(workers, "_shared", known)
    taken = until_handed_out(broker)
    assert broker.dequeue() == []

    known.note_end(os.getpid(), -signal.SIGKILL)
    owners.bell.ring()

    again = until_handed_out(broker)
    assert events_in(again) == [[event.id]]
    run(taken)
    assert status_of(event) == ["claimed"]
    run(again)
    assert status_of(event) == ["delivered"]
    assert Event.objects.get().attempts == 1


def test_dangerous_events_keep_at_most_half_of_the_workers_busy_and_the_next_one_follows_at_once(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    monkeypatch.setattr(ClusterConf, "WORKERS", 2)
    owners = TaskOwners()
    monkeypatch.setattr(task_owners, "_shared", owners)
    first, second = publish_all(NOTED, "ab")
    Event.objects.update(batch_limit=1)
    tasks = until_handed_out(broker)
    assert events_in(tasks) == [[first.id]]
    fresh = publish()
    assert events_in(until_handed_out(broker)) == [[fresh.id]]
    assert status_of(second) == ["pending"]

    run(tasks)

    assert events_in(until_handed_out(broker)) == [[second.id]]
    assert status_of(first) == ["delivered"]


def test_it_parks_blocked_events(broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "WORTHWHILE", 5)
    publish_all(NOTED, ["one"] * 10)

    broker.dequeue()

    assert Event.objects.filter(parked_until__isnull=False).count() == 9


# --- Ordinary tasks of django-q2 ----------------------------------------------------------------------


def test_queued_tasks_follow_one_another_without_a_wait(warm: OutboxBroker, settings: Settings) -> None:
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


def test_an_endless_queue_of_tasks_delays_no_event(warm: OutboxBroker, settings: Settings) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    async_task("operator.neg", 1)
    wait_until(warm.dequeue)
    event = publish()

    def one_more() -> list[Task]:
        async_task("operator.neg", 1)
        return [task for task in warm.dequeue() if task[0] is None]

    assert events_in(wait_until(one_more)) == [[event.id]]


def test_a_task_that_another_cluster_took_first_is_not_returned(
    warm: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-q2's own dequeue() answers None then."""
    from django_q.brokers.orm import ORM

    async_task("operator.neg", 1)
    monkeypatch.setattr(ORM, "dequeue", lambda self: None)

    assert warm.dequeue() == []


# --- The database going away --------------------------------------------------------------------------


def _cut_connections() -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    other.close()


def test_dequeue_waits_for_a_database_that_does_not_answer(warm: OutboxBroker) -> None:
    event = publish()
    _cut_connections()

    assert events_in(until_handed_out(warm)) == [[event.id]]
    wait_until(lambda: warm.dequeue() or warm.listener.hears)


def test_a_database_error_is_tried_again(broker: OutboxBroker) -> None:
    event = publish()
    _execute("ALTER TABLE django_q_ormq RENAME TO gone")
    try:
        assert broker.dequeue() == []
    finally:
        _execute("ALTER TABLE gone RENAME TO django_q_ormq")

    assert events_in(until_handed_out(broker)) == [[event.id]]


def test_events_claimed_before_a_database_error_are_returned(broker: OutboxBroker) -> None:
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


def test_a_pickled_broker_opens_its_own_connection(warm: OutboxBroker) -> None:
    copy = pickle.loads(pickle.dumps(warm))

    assert copy.list_key == warm.list_key
    assert not copy.listener.hears
    assert warm.listener.hears


def test_it_says_what_it_is_and_whether_the_database_answers(broker: OutboxBroker) -> None:
    assert broker.ping()
    assert broker.info() == "Outbox (PostgreSQL)"


def test_a_worker_runs_what_the_package_names(broker: OutboxBroker) -> None:
    """In django-q2's own worker, with its timeout."""
    event = publish()
    run(broker.dequeue())

    assert Effect.objects.get().event == event.id


def test_a_task_that_fails_quotes_no_other_error(
    broker: OutboxBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-q2 stores the traceback for ever."""
    publish()
    [package] = packages(broker.dequeue())

    def fail(*_: object, **__: object) -> None:
        raise ValueError("xylophone")

    monkeypatch.setattr(tasks, "deliver", fail)
    with pytest.raises(tasks.NotSettled, match="ValueError in fail") as raised:
        package["func"](*package["args"], **package["kwargs"])

    assert "xylophone" not in "".join(traceback.format_exception(raised.value))


def test_a_task_drops_its_events_from_its_result(broker: OutboxBroker) -> None:
    """django-q2 stores a failed task for ever. It keeps the ids, for the person who reads it."""
    event = publish()
    [package] = packages(broker.dequeue())
    for success, kept in ((False, (event.id,)), (True, ())):
        task = {**package, "success": success}
        post_execute_in_worker.send(sender="django_q", func=package["func"], task=task)
        assert task["args"] == kept


@pytest.mark.parametrize(
    "unreadable",
    [
        pytest.param({"payload": f'{{"n": 1{"0" * 5_000}}}'}, id="an integer of 5,001 digits"),
        pytest.param({"payload": f"{'[' * 3_000}{']' * 3_000}"}, id="3,000 lists in each other"),
        pytest.param({"headers": "[]"}, id="headers that are a list"),
    ],
)
def test_an_event_that_cannot_be_read_is_dead_and_its_neighbours_are_delivered(
    broker: OutboxBroker, unreadable: dict[str, str]
) -> None:
    before, bad, after = publish_all(TOGETHER, ["before", "bad", "after"])
    [(column, value)] = unreadable.items()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE outbox_event SET {column} = %s::jsonb WHERE id = %s", [value, bad.id])

    run(broker.dequeue())

    assert status_of(before, bad, after) == ["delivered", "dead", "delivered"]
    assert Failure.objects.get().event_id == bad.id


def test_a_worker_that_dies_amid_readable_events_leaves_the_unreadable_one_out(broker: OutboxBroker) -> None:
    events = publish_all(TOGETHER, ["bad", "first", "second"])
    Event.objects.filter(id=events[0].id).update(headers=[])
    seen = []

    def note_units(number: int, start: int, size: int) -> None:
        seen.append((start, size))

    shared = task_owners.TaskOwners()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_owners, "_shared", shared)
        patch.setattr(shared, "begin_unit", note_units)
        run(broker.dequeue())

    assert seen == [(1, 2), (1, 0)]
    assert status_of(*events) == ["dead", "delivered", "delivered"]
