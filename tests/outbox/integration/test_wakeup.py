"""Wakeups: when the relay claims, and what."""

from concurrent.futures import ThreadPoolExecutor
from select import select

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from outbox.database.channels import wake
from outbox.models import Event, Relay
from outbox.relay.broker import OutboxBroker
from outbox.relay.listener import TASKS
from outbox.relay.timers import Interval
from tests.support.handed_out import events_in, run, until_handed_out
from tests.support.published import publish
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_commit_wakes_the_waiting_relay(warm: OutboxBroker, settings: Settings) -> None:
    """The next poll is far away."""
    settings.OUTBOX_POLL_SECONDS = 1000.0
    patient = OutboxBroker()
    patient.listener = warm.listener
    while patient.dequeue():
        pass
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(_publish_and_close)
        tasks = until_handed_out(patient)

    assert events_in(tasks) == [[published.result().id]]


def test_a_commit_leads_to_a_claim_of_new_events_and_a_wake_to_a_claim_of_all(
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


def test_settling_an_event_hands_out_its_successor_without_a_poll(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    warm: OutboxBroker = request.getfixturevalue("warm")
    chain = [publish(id=1) for _ in range(3)]

    for event in chain:
        tasks = until_handed_out(warm)
        assert events_in(tasks) == [[event.id]]
        run(tasks)


def test_settling_an_event_hands_out_a_successor_that_failed_before(
    settings: Settings, request: pytest.FixtureRequest
) -> None:
    """A dead letter that comes back has the lower id, and its successor may have failed meanwhile."""
    settings.OUTBOX_POLL_SECONDS = 1000.0
    warm: OutboxBroker = request.getfixturevalue("warm")
    with transaction.atomic():
        first, failed = publish(id=1), publish(id=1)
        Event.objects.filter(id=failed.id).update(attempts=1)

    tasks = until_handed_out(warm)
    assert events_in(tasks) == [[first.id]]
    assert warm.dequeue() == []
    run(tasks)
    assert events_in(until_handed_out(warm)) == [[failed.id]]


def test_an_event_that_is_published_during_a_job_goes_before_the_other_jobs(
    warm: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    patient = OutboxBroker()
    patient.listener = warm.listener
    while patient.dequeue():
        pass
    done = []

    def publish_meanwhile() -> None:
        done.append(publish().id)
        wait_until(patient.listener.has_heard)

    other = Interval(1000.0)
    assert other.is_due()
    other.hasten(0)
    patient._jobs = {publish_meanwhile: Interval(1000.0), lambda: done.append("other job"): other}  # noqa: SLF001
    [[handed_out]] = events_in(patient.dequeue())
    assert done == [handed_out]
    assert other.is_due()


def test_the_jobs_wait_until_a_worker_has_begun_what_was_handed_out(
    warm: OutboxBroker, settings: Settings
) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    patient = OutboxBroker()
    patient.listener = warm.listener
    while patient.dequeue():
        pass
    done: list[str] = []
    job = Interval(1000.0)
    patient._jobs = {lambda: done.append("job"): job}  # noqa: SLF001
    assert job.is_due()
    publish()
    until_handed_out(patient)
    job.hasten(0)

    assert patient.dequeue() == []
    assert done == []
    patient._more = TASKS  # noqa: SLF001 - so that it does not wait
    patient.dequeue()
    assert done == ["job"]


def test_new_events_go_before_a_due_poll(settings: Settings, request: pytest.FixtureRequest) -> None:
    settings.OUTBOX_POLL_SECONDS = 1000.0
    warm: OutboxBroker = request.getfixturevalue("warm")
    warm._poll = Interval(1000.0)  # noqa: SLF001 - due now, and not again
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


def test_dequeue_returns_within_about_a_second(warm: OutboxBroker, settings: Settings) -> None:
    """Even if the next poll is later. The cluster waits for it to stop."""
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


def test_without_listen_it_polls_soon_after_it_found_events(settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    settings.OUTBOX_POLL_SECONDS = 1000.0
    broker = OutboxBroker()
    chain = [publish(id=1) for _ in range(3)]

    for event in chain:
        tasks = until_handed_out(broker)
        assert events_in(tasks) == [[event.id]]
        run(tasks)


def test_it_polls_no_more_often_than_the_setting_says(settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    settings.OUTBOX_POLL_SECONDS = 1000.0
    broker = OutboxBroker()
    while broker.dequeue():
        pass
    publish()

    assert broker.dequeue() == []
