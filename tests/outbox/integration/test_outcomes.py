"""Settling: only the owner of a claim records the outcome of its events."""

import socket
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from outbox.delivery import outcomes
from outbox.models import Event, Failure
from tests.support.published import (
    NOTED,
    claim_all,
    free_events_of_lost_workers,
    ids,
    make_due,
    publish,
    publish_all,
    status_of,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_delivered_event_has_no_claim_and_a_time() -> None:
    event = publish()
    claimed = claim_all()

    assert outcomes.delivered(claimed.token, ids(claimed)) == {event.id}

    event.refresh_from_db()
    assert (event.status, event.claim_token, event.lease_expires_at) == ("delivered", None, None)
    assert event.delivered_at
    assert event.delivered_at > event.created_at


def test_a_worker_that_lost_its_lease_changes_nothing() -> None:
    event = publish()
    late = claim_all()
    free_events_of_lost_workers()
    in_hand = claim_all()
    before = Event.objects.values().get()

    assert outcomes.delivered(late.token, [event.id]) == set()
    outcomes.failed(late.token, [event.id], ValueError("late"))
    outcomes.failed(late.token, [event.id], ValueError("late"), final=True)
    outcomes.returned(late.token, [event.id])

    assert Event.objects.values().get() == before
    assert [failure.worker for failure in Failure.objects.all()] == ["lost"]
    assert outcomes.delivered(in_hand.token, [event.id]) == {event.id}


def test_an_unknown_token_changes_nothing() -> None:
    event = publish()

    assert outcomes.delivered(uuid4(), [event.id]) == set()
    assert status_of(event) == ["pending"]


def test_recording_an_outcome_twice_changes_nothing() -> None:
    event = publish()
    claimed = claim_all()

    outcomes.failed(claimed.token, [event.id], ValueError("no"))
    outcomes.failed(claimed.token, [event.id], ValueError("no"))
    outcomes.returned(claimed.token, [event.id])

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("pending", 1)
    assert Failure.objects.count() == 1


def test_a_failed_attempt_is_kept_with_its_reason_and_worker() -> None:
    event = publish()
    claimed = claim_all()

    try:
        raise ValueError("no such order")
    except ValueError as error:
        outcomes.failed(claimed.token, ids(claimed), error)

    event.refresh_from_db()
    assert (event.status, event.last_error) == ("pending", "ValueError: no such order")
    failure = Failure.objects.get()
    assert (failure.event_id, failure.attempt, failure.error) == (event.id, 1, "ValueError: no such order")
    assert "in test_a_failed_attempt_is_kept" in failure.traceback
    assert failure.worker.startswith(f"{socket.gethostname()}:")
    assert str(failure) == f"attempt 1 of event {event.id}: ValueError: no such order"


def test_no_failure_overwrites_another() -> None:
    event = publish()
    for attempt in range(1, 4):
        outcomes.failed(claim_all().token, [event.id], ValueError(f"no {attempt}"))
        make_due()

    assert list(Failure.objects.values_list("attempt", "error")) == [
        (1, "ValueError: no 1"),
        (2, "ValueError: no 2"),
        (3, "ValueError: no 3"),
    ]


def test_the_backoff_grows_with_each_attempt_up_to_the_cap(settings: Settings) -> None:
    settings.OUTBOX_BACKOFF_BASE_SECONDS, settings.OUTBOX_BACKOFF_CAP_SECONDS = 100.0, 1000.0
    settings.OUTBOX_MAX_ATTEMPTS = 5000
    for attempt, longest in ((1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (2000, 1000)):
        Event.objects.all().delete()
        events = publish_all(NOTED, range(200))
        Event.objects.update(attempts=attempt - 1)

        outcomes.failed(claim_all().token, [event.id for event in events], ValueError("no"))

        times = Failure.objects.values_list("at", "event__available_at")
        pauses = [(due - at).total_seconds() for at, due in times]
        # Full jitter: anything from nothing to the whole pause, and what passed since the statement began.
        assert 0 <= min(pauses) < longest * 0.1
        assert longest * 0.9 < max(pauses) < longest * 1.1


def test_an_event_without_attempts_left_is_dead(settings: Settings) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 2
    event = publish()

    outcomes.failed(claim_all().token, [event.id], ValueError("no"))
    assert status_of(event) == ["pending"]
    make_due()
    outcomes.failed(claim_all().token, [event.id], ValueError("no"))
    assert status_of(event) == ["dead"]


def test_a_final_failure_is_dead_at_once() -> None:
    event = publish()

    outcomes.failed(claim_all().token, [event.id], ValueError("no"), final=True)

    assert status_of(event) == ["dead"]


def test_a_returned_event_counts_no_attempt() -> None:
    event = publish()
    event.refresh_from_db()
    claimed = claim_all()

    outcomes.returned(claimed.token, ids(claimed))

    released = Event.objects.get()
    assert (released.status, released.attempts, released.claim_token) == ("pending", 0, None)
    assert released.available_at == event.available_at
    assert not Failure.objects.exists()
    assert ids(claim_all()) == [event.id]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ValueError("a\x00b"), r"ValueError: a\x00b"),
        (ValueError("lone \ud800 surrogate"), r"ValueError: lone \ud800 surrogate"),
        (Unspeakable(), "Unspeakable: <exception str() failed>"),
        (ValueError("long " * 10_000), f"ValueError: {'long ' * 10_000}"[: outcomes.ERROR_LENGTH]),
    ],
)
def test_any_error_text_can_be_stored(error: Exception, kept: str) -> None:
    publish()
    claimed = claim_all()

    outcomes.failed(claimed.token, ids(claimed), error)

    failure = Failure.objects.get()
    assert failure.error == kept
    assert len(failure.traceback) <= outcomes.TRACEBACK_LENGTH


def test_many_are_settled_with_one_statement() -> None:
    publish_all(NOTED, range(50))
    claimed = claim_all()

    with CaptureQueriesContext(connection) as queries:
        outcomes.delivered(claimed.token, ids(claimed))

    assert len(queries) == 1
