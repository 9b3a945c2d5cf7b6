"""Delivery: events succeed, fail, wait or are returned."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django_q.conf import Conf as ClusterConf
from django_q.exceptions import TimeoutException
from pytest_django.fixtures import Settings

import outbox
from outbox import ClaimedEvent, registry
from outbox.cluster import shutdown
from outbox.delivery import db_retry, outcomes
from outbox.delivery import deliver as delivery
from outbox.delivery.deliver import deliver
from outbox.models import Circuit, Event, Failure
from outbox.publishing import headers
from outbox.queue import circuits, probes
from outbox.queue.claim import claim
from outbox.queue.lost import reclaim_expired
from outbox.testing import drain, handled
from tests.support.outbox_app.models import Effect
from tests.support.published import (
    NOTED,
    TOGETHER,
    claim_all,
    expire_leases,
    free_events_of_lost_workers,
    publish,
    publish_all,
    status_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

Seen = list[list[str]]


def deliver_all(*types: str, **options: Any) -> None:
    claimed = claim_all(*types)
    deliver(claimed.token, claimed.events, **options)


def raising(error: BaseException, *bad: str, seen: Seen | None = None) -> Callable[[Any], None]:
    """A handler that raises if one of these aggregates is among its events. Without any, it always raises."""

    def handle(events: ClaimedEvent | Sequence[ClaimedEvent]) -> None:
        together = [events] if isinstance(events, ClaimedEvent) else list(events)
        names = [event.aggregateid for event in together]
        if seen is not None:
            seen.append(names)
        if not bad or set(bad) & set(names):
            raise error

    return handle


def test_events_reach_their_handlers_and_are_delivered() -> None:
    one, other = publish(NOTED), publish(TOGETHER)

    deliver_all(NOTED, TOGETHER)

    assert status_of(one, other) == ["delivered", "delivered"]
    assert {effect.event for effect in Effect.objects.all()} == {one.id, other.id}


def test_a_batch_handler_gets_all_events_at_once_and_any_other_one_by_one() -> None:
    publish_all(NOTED, range(3))
    publish_all(TOGETHER, range(3, 6))

    deliver_all(NOTED, TOGETHER)

    assert sorted(Effect.objects.values_list("together", flat=True)) == [1, 1, 1, 3, 3, 3]


def test_a_batch_that_raises_is_tried_in_halves_and_only_the_bad_event_fails() -> None:
    seen: Seen = []
    with handled(TOGETHER, by=raising(ValueError("rotten"), "b", seen=seen), batch=True):
        a, b, c, d, e = publish_all(TOGETHER, "abcde")
        deliver_all(TOGETHER)

    assert seen == [["a", "b", "c", "d", "e"], ["a", "b", "c"], ["a", "b"], ["a"], ["b"], ["c"], ["d", "e"]]
    assert status_of(a, b, c, d, e) == ["delivered", "pending", "delivered", "delivered", "delivered"]
    assert [failure.event_id for failure in Failure.objects.all()] == [b.id]


def test_an_error_counts_an_attempt_and_is_retried() -> None:
    event = publish()
    with handled(NOTED, by=raising(ValueError("no"))):
        deliver_all()

    event.refresh_from_db()
    assert (event.status, event.attempts, event.last_error) == ("pending", 1, "ValueError: no")


def test_a_rejected_event_is_dead_at_once_with_the_reason() -> None:
    with handled(TOGETHER, by=raising(outbox.Reject("it has no body"), "b"), batch=True):
        a, b = publish_all(TOGETHER, "ab")
        deliver_all(TOGETHER)

    assert status_of(a, b) == ["delivered", "dead"]
    assert Failure.objects.get().error == "Reject: it has no body"


def test_a_worker_that_runs_into_the_timeout_records_it_before_it_ends() -> None:
    """django-q2's timeout raises SystemExit in the handler."""
    timeout = TimeoutException("Task exceeded maximum timeout value (60 seconds)")
    with handled(NOTED, by=raising(timeout, "b")):
        a, b, c = publish_all(NOTED, "abc")
        with pytest.raises(TimeoutException):
            deliver_all()

    assert status_of(a, b, c) == ["delivered", "pending", "pending"]
    assert Failure.objects.get().error == "TimeoutException: Task exceeded maximum timeout value (60 seconds)"
    assert [Event.objects.get(id=event.id).attempts for event in (a, b, c)] == [1, 1, 0]
    # From now on it is alone in its task, and other such events do not run beside it on every worker.
    assert [Event.objects.get(id=event.id).batch_limit for event in (a, b, c)] == [None, 1, None]


def test_a_batch_that_ran_into_the_timeout_is_tried_again_in_halves_at_once() -> None:
    with handled(TOGETHER, by=raising(TimeoutException("too long")), batch=True):
        publish_all(TOGETHER, "abc")
        with pytest.raises(TimeoutException):
            deliver_all(TOGETHER)

    assert not Failure.objects.exists()
    claimed = claim_all(TOGETHER)
    assert [(row.attempts, row.batch_limit) for row in claimed.suspects] == [(1, 2)] * 3
    assert Event.objects.first().last_error.startswith(
        "A batch of 3 events was interrupted: TimeoutException"
    )


def test_the_worker_notes_the_place_of_the_events_that_it_handles() -> None:
    noted: list[tuple[int, int]] = []
    with handled(TOGETHER, by=raising(ValueError("rotten"), "b"), batch=True):
        publish_all(NOTED, "xy")
        publish_all(TOGETHER, "abc")
        claimed = claim_all(NOTED, TOGETHER)
        deliver(claimed.token, claimed.events, on_unit=lambda start, size: noted.append((start, size)))

    assert [unit for unit in noted if unit[1]] == [(0, 1), (1, 1), (2, 3), (2, 2), (2, 1), (3, 1), (4, 1)]
    assert [unit for unit in noted if not unit[1]] == [(start, 0) for start, size in noted if size]


def test_it_is_recorded_that_suspects_are_begun_before_the_first_is_handled() -> None:
    seen: list[list[int | None]] = []

    def look(_: ClaimedEvent) -> None:
        seen.append(list(Event.objects.order_by("id").values_list("begun", flat=True)))

    with handled(NOTED, by=look):
        publish_all(NOTED, "ab")
        claimed = claim_all()
        deliver(claimed.token, claimed.events, suspects=True)

    assert seen == [[2, 2], [2, 2]]
    assert set(Event.objects.values_list("status", "begun")) == {("delivered", None)}


def test_suspects_whose_claim_has_ended_are_not_handled() -> None:
    seen: Seen = []
    publish_all(NOTED, "ab")
    late = claim_all()
    free_events_of_lost_workers()
    with handled(NOTED, by=raising(ValueError("no"), seen=seen)):
        deliver(late.token, late.events, suspects=True)

    assert seen == []


def test_suspects_whose_claim_has_ended_in_part_are_returned() -> None:
    a, b = publish_all(NOTED, "ab")
    claimed = claim_all()
    outcomes.delivered(claimed.token, [a.id])
    with handled(NOTED, by=raising(ValueError("no"))):
        deliver(claimed.token, claimed.events, suspects=True)

    assert status_of(a, b) == ["delivered", "pending"]


def test_an_unavailable_dependency_counts_no_attempt_and_opens_its_circuit() -> None:
    seen: Seen = []
    away = outbox.Unavailable("oven", "cold", retry_after=30)
    with handled("test.baked", by=raising(away, "b", seen=seen), needs=["oven"]):
        a, b, c = publish_all("test.baked", "abc")
        deliver_all("test.baked")

        assert seen == [["a"], ["b"]]
        assert status_of(a, b, c) == ["delivered", "pending", "pending"]
        assert [Event.objects.get(id=event.id).attempts for event in (b, c)] == [0, 0]
        assert not Failure.objects.exists()
        assert circuits.snapshot().paused == {"oven"}
        assert claim_all("test.baked", "test.toasted").events == []


def test_an_open_circuit_returns_the_events_of_the_task_that_need_it_and_no_other() -> None:
    with handled("test.baked", by=raising(outbox.Unavailable("oven")), needs=["oven"]):
        baked, toasted, noted = publish("test.baked"), publish("test.toasted"), publish(NOTED)
        deliver_all("test.baked", "test.toasted", NOTED)

    assert status_of(baked, toasted, noted) == ["pending", "pending", "delivered"]
    assert [effect.event for effect in Effect.objects.all()] == [noted.id]


def test_a_dependency_that_the_handler_does_not_name_pauses_its_type_too() -> None:
    with handled(NOTED, by=raising(outbox.Unavailable("moon"))):
        publish()
        deliver_all()

    assert Circuit.objects.get().types == [NOTED]
    assert claim_all().events == []


def test_events_of_a_type_without_a_handler_here_are_returned() -> None:
    event = publish()
    claimed = claim_all()
    mine = registry.put(NOTED, None)
    try:
        deliver(claimed.token, claimed.events)
    finally:
        registry.put(NOTED, mine)

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("pending", 0)


def test_the_handler_publishes_with_the_headers_of_its_event() -> None:
    seen: list[Any] = []
    with handled(NOTED, by=lambda event: seen.append(dict(headers.current()))):
        with headers.bound({"traceparent": "t1"}):
            publish()
        deliver_all()

    assert seen == [{"traceparent": "t1"}]
    assert headers.current() == {}


def test_a_delivery_whose_lease_expired_changes_nothing_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    event = publish()
    claimed = claim_all()
    expire_leases()
    reclaim_expired()
    before = Event.objects.values().get()

    deliver(claimed.token, claimed.events)

    assert Event.objects.values().get() == before
    assert "1 of 1 events were not settled" in caplog.text
    assert status_of(event) == ["pending"]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Any:
    event = multiprocessing.Event()
    monkeypatch.setattr(shutdown, "_stop", event)
    return event


def test_a_stopping_cluster_finishes_the_current_event_and_returns_the_rest(stop: Any) -> None:
    with handled(NOTED, by=lambda event: stop.set()):
        first, second = publish_all(NOTED, "ab")
        deliver_all()

    assert status_of(first, second) == ["delivered", "pending"]
    assert Event.objects.get(id=second.id).attempts == 0


def test_events_that_waited_too_long_for_a_worker_are_returned_before_the_lease_expires() -> None:
    event = publish()

    deliver_all(begin_before=time.monotonic() - 1)

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("pending", 0)
    assert not Effect.objects.exists()


def test_events_behind_a_slow_event_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterConf, "TIMEOUT", 3000)
    now = time.monotonic

    def slow(event: ClaimedEvent) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: now() + 1001)

    with handled(NOTED, by=slow):
        first, second = publish_all(NOTED, "ab")
        deliver_all()

    assert status_of(first, second) == ["delivered", "pending"]


def test_without_a_timeout_all_events_are_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterConf, "TIMEOUT", None)
    events = publish_all(NOTED, "ab")

    deliver_all()

    assert status_of(*events) == ["delivered", "delivered"]


def test_a_success_is_recorded_before_the_next_slow_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SETTLE_SECONDS", 0.0)
    seen: list[list[str]] = []
    with handled(NOTED, by=lambda _: seen.append(status_of(*events))):
        events = publish_all(NOTED, "ab")
        deliver_all()

    assert seen == [["claimed", "claimed"], ["delivered", "claimed"]]


# --- Probes -------------------------------------------------------------------------------------------


@pytest.fixture
def open_oven() -> Event:
    event = publish("test.baked")
    circuits.open_circuit(outbox.Unavailable("oven", "cold"))
    return event


def probe(by: Callable[[Any], Any]) -> None:
    Circuit.objects.update(open_until="2000-01-01T00:00Z")
    assert [probe.dependency for probe in probes.acquire_probes()] == ["oven"]
    with handled("test.baked", by=by, needs=["oven"]):
        claimed = claim(["test.baked"], batch=1, retries=1, probing=["oven"])
        deliver(claimed.token, claimed.events, probing=["oven"])


def test_a_probe_that_succeeds_closes_the_circuit(open_oven: Event) -> None:
    probe(by=lambda event: None)

    assert circuits.snapshot() == circuits.Snapshot(frozenset(), frozenset())
    assert status_of(open_oven) == ["delivered"]


def test_a_failed_probe_makes_the_pause_longer(open_oven: Event, settings: Settings) -> None:
    settings.OUTBOX_CIRCUIT_BASE_SECONDS = 100.0
    probe(by=raising(outbox.Unavailable("oven", "still cold")))

    circuit = Circuit.objects.get()
    assert (circuit.failures, circuit.reason) == (2, "still cold")
    assert circuits.snapshot().paused == {"oven"}
    assert status_of(open_oven) == ["pending"]


@pytest.mark.parametrize("error", [ValueError("no"), outbox.Reject("never")])
def test_a_probe_that_fails_with_another_error_closes_the_circuit(open_oven: Event, error: Exception) -> None:
    probe(by=raising(error))

    assert "oven" not in circuits.snapshot().paused | circuits.snapshot().half_open


def test_a_probe_that_finds_another_dependency_away_changes_nothing_of_its_own(open_oven: Event) -> None:
    """The handler may have called the other one first."""
    probe(by=raising(outbox.Unavailable("moon")))

    assert circuits.snapshot() == circuits.Snapshot(frozenset({"moon"}), frozenset({"oven"}))
    assert Circuit.objects.get(dependency="oven").failures == 1


def test_a_probe_changes_no_hold(open_oven: Event, settings: Settings) -> None:
    """A person holds the dependency while the probe runs."""
    settings.OUTBOX_CIRCUIT_BASE_SECONDS = 100.0

    def hold(event: ClaimedEvent) -> None:
        circuits.hold("oven", pause=timedelta(hours=1), reason="it is cleaned")

    probe(by=hold)
    circuit = Circuit.objects.get()
    assert (circuit.opened_at, circuit.hold_reason) == (None, "it is cleaned")
    assert circuits.snapshot().paused == {"oven"}
    assert claim_all("test.baked", "test.toasted").events == []

    circuits.open_circuit(outbox.Unavailable("oven", "cold"), probing=True)
    assert Circuit.objects.get().held_until == circuit.held_until


def probe_both(by: Callable[[Any], Any]) -> None:
    """An event probes the oven and the moon."""
    circuits.open_circuit(outbox.Unavailable("moon", "dark"), "test.baked")
    Circuit.objects.update(open_until="2000-01-01T00:00Z")
    assert len(probes.acquire_probes()) == 2
    with handled("test.baked", by=by, needs=["oven", "moon"]):
        claimed = claim(["test.baked"], batch=1, retries=1, probing=["oven", "moon"])
        deliver(claimed.token, claimed.events, probing=["oven", "moon"])


def test_a_probe_of_two_dependencies_that_succeeds_closes_both(open_oven: Event) -> None:
    probe_both(by=lambda event: None)

    assert circuits.snapshot() == circuits.Snapshot(frozenset(), frozenset())


def test_a_probe_of_two_dependencies_that_finds_one_away_changes_the_other_in_nothing(
    open_oven: Event, settings: Settings
) -> None:
    settings.OUTBOX_CIRCUIT_BASE_SECONDS = 100.0
    probe_both(by=raising(outbox.Unavailable("oven", "still cold")))

    assert circuits.snapshot() == circuits.Snapshot(frozenset({"oven"}), frozenset({"moon"}))
    failures = dict(Circuit.objects.values_list("dependency", "failures"))
    assert failures == {"oven": 2, "moon": 1}


def test_a_probe_of_two_dependencies_that_fails_otherwise_closes_none(open_oven: Event) -> None:
    """It is not known which of them it called."""
    probe_both(by=raising(ValueError("no")))

    assert circuits.snapshot().half_open == {"oven", "moon"}


def test_a_probe_that_ran_into_the_timeout_changes_no_circuit(open_oven: Event) -> None:
    with pytest.raises(TimeoutException):
        probe(by=raising(TimeoutException("too long")))

    assert circuits.snapshot().paused == {"oven"}


def test_a_probe_that_was_not_begun_is_released(open_oven: Event, stop: Any) -> None:
    stop.set()
    probe(by=print)

    assert circuits.snapshot().half_open == {"oven"}
    assert status_of(open_oven) == ["pending"]


# --- The database going away --------------------------------------------------------------------------


def test_an_outcome_is_recorded_after_a_short_outage_of_the_database() -> None:
    """The handler's connection is cut, as in a restart of PostgreSQL."""

    def cut(event: ClaimedEvent) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
        other.close()

    with handled(NOTED, by=cut):
        event = publish()
        deliver_all()

    assert status_of(event) == ["delivered"]


def test_recording_gives_up_after_a_time_that_is_shorter_in_a_stopping_cluster(
    monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    monkeypatch.setattr(db_retry, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(db_retry, "RETRY_SECONDS_WHEN_STOPPING", 0.0)
    monkeypatch.setattr(db_retry, "PAUSE_SECONDS", 0.01)
    tries = []

    @db_retry.retry_while_unavailable
    def record() -> None:
        tries.append(1)
        raise OperationalError("away")

    with pytest.raises(OperationalError):
        record()
    assert len(tries) > 2

    tries.clear()
    stop.set()
    with pytest.raises(OperationalError):
        record()
    assert len(tries) == 1


def test_recording_inside_a_transaction_of_the_caller_raises_at_once() -> None:
    tries = []

    @db_retry.retry_while_unavailable
    def record() -> None:
        tries.append(1)
        raise OperationalError("away")

    with pytest.raises(OperationalError), transaction.atomic():
        record()
    assert len(tries) == 1


def test_drain_delivers_the_events_of_an_aggregate_one_after_the_other() -> None:
    publish_all(NOTED, ["one"] * 3)

    assert drain() == 3
    assert list(Effect.objects.order_by("id").values_list("event", flat=True)) == list(
        Event.objects.order_by("id").values_list("id", flat=True)
    )
