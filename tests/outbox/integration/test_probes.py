"""Probes: after a pause, the relay tries an unavailable dependency with one event."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from pytest_django.fixtures import Settings

import outbox
from outbox.delivery import outcomes
from outbox.models import Circuit, Event
from outbox.queue import circuits, probes
from outbox.queue.lost import reclaim_from_worker
from outbox.relay.broker import OutboxBroker
from outbox.testing import handled
from tests.support.circuits import end_pause, open_oven
from tests.support.handed_out import events_in, packages, run, until_handed_out
from tests.support.published import claim_all, make_due, publish, publish_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_after_the_pause_one_event_probes(broker: OutboxBroker) -> None:
    first, second = publish_all("test.baked", range(2))
    open_oven()
    assert broker.dequeue() == []

    end_pause()
    tasks = until_handed_out(broker)

    assert events_in(tasks) == [[first.id]]
    assert packages(tasks)[0]["kwargs"]["probing"] == ["oven"]
    run(tasks)
    assert Circuit.objects.get().opened_at is None
    assert events_in(until_handed_out(broker)) == [[second.id]]


def test_a_failed_event_probes_if_there_is_no_fresh_one(broker: OutboxBroker) -> None:
    event = publish("test.baked")
    outcomes.failed(claim_all("test.baked").token, [event.id], ValueError("no"))
    make_due()
    open_oven()
    end_pause()

    assert events_in(until_handed_out(broker)) == [[event.id]]


def test_a_circuit_without_waiting_events_closes(broker: OutboxBroker) -> None:
    open_oven()
    end_pause()

    wait_until(lambda: broker.dequeue() == [] and Circuit.objects.get().opened_at is None)


def test_a_probe_that_died_with_its_worker_is_made_again_at_once(broker: OutboxBroker) -> None:
    """It held up every event that needs the dependency for a minute."""
    first, second = publish_all("test.baked", range(2))
    open_oven()
    end_pause()
    assert events_in(until_handed_out(broker)) == [[first.id]]
    let_the_prober_have_had_time()

    for _ in range(5):
        assert broker.dequeue() == []
    reclaim_from_worker(Event.objects.get(id=first.id).claim_token, [first.id])

    tasks = until_handed_out(broker)
    assert events_in(tasks) == [[second.id]]
    run(tasks)
    assert Circuit.objects.get().opened_at is None


def test_a_probe_whose_relay_died_before_its_claim_is_made_again(broker: OutboxBroker) -> None:
    event = publish("test.baked")
    open_oven()
    end_pause()
    probes.acquire_probes(uuid4())
    assert probes.acquire_probes(uuid4()) == []

    let_the_prober_have_had_time()

    assert events_in(until_handed_out(broker)) == [[event.id]]


def test_a_failed_probe_keeps_its_pause_although_its_claim_has_ended(broker: OutboxBroker) -> None:
    publish("test.baked")
    open_oven()
    end_pause()
    tasks = until_handed_out(broker)
    with handled("test.baked", by=_away_for_30_seconds, needs=["oven"]):
        run(tasks)

    assert probes.acquire_probes(uuid4()) == []


def needs_both(by: Callable[[outbox.ClaimedEvent], object]) -> Any:
    return handled("test.baked", by=by, needs=["oven", "moon"])


def test_an_event_that_needs_two_dependencies_tries_both_when_both_pauses_are_over(
    broker: OutboxBroker,
) -> None:
    """With a probe for each, every probe would wait for the other circuit."""
    with needs_both(by=lambda event: None):
        event = publish("test.baked")
        open_oven()
        circuits.open_circuit(outbox.Unavailable("moon", "dark"))
        assert broker.dequeue() == []

        end_pause()
        tasks = until_handed_out(broker)

        assert events_in(tasks) == [[event.id]]
        assert packages(tasks)[0]["kwargs"]["probing"] == ["moon", "oven"]
        run(tasks)
    assert set(Circuit.objects.values_list("opened_at", flat=True)) == {None}


def test_a_dependency_whose_events_wait_for_another_one_too_is_not_closed_untried(
    broker: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_CIRCUIT_BASE_SECONDS = settings.OUTBOX_CIRCUIT_CAP_SECONDS = 100.0
    with needs_both(by=lambda event: None):
        publish("test.baked")
        open_oven()
        circuits.open_circuit(outbox.Unavailable("moon", "dark"))
        Circuit.objects.filter(dependency="oven").update(open_until="2000-01-01T00:00Z")

        wait_until(lambda: broker.dequeue() == [] and circuits.snapshot().paused == {"oven", "moon"})

    assert Circuit.objects.get(dependency="oven").failures == 1


def test_a_long_outage_costs_one_try_a_pause_and_changes_no_other_row(
    broker: OutboxBroker, settings: Settings
) -> None:
    """The waiting rows are not written, however long the outage lasts."""
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


def _away_for_30_seconds(event: outbox.ClaimedEvent) -> None:
    raise outbox.Unavailable("oven", "cold", retry_after=30)


def let_the_prober_have_had_time() -> None:
    Circuit.objects.update(open_until=F("open_until") - timedelta(seconds=probes.CLAIMING_SECONDS))


def _row_versions() -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text::bigint FROM outbox_event")
        return dict(cursor.fetchall())
