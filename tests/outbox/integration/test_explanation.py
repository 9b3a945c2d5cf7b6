"""The sentence that says why an event waits, and when it goes on."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from outbox import Unavailable
from outbox.models import Event, Relay, Status
from outbox.operations.explanation import explain
from outbox.queue import circuits
from outbox.queue.claim import claim
from tests.support.events import stored
from tests.support.published import claim_all, publish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_cluster_runs() -> None:
    Relay.objects.create(id="00000000-0000-0000-0000-000000000001", host="here", pid=1, wakeup="listen")


def explained(event: Event) -> str:
    event.refresh_from_db()
    return explain(event)


def test_an_event_that_may_run_waits_for_a_worker() -> None:
    assert explained(publish()) == "It is ready. The next free worker takes it."


def test_without_a_cluster_it_says_how_to_start_one() -> None:
    Relay.objects.all().delete()

    assert "Start one with manage.py qcluster" in explained(publish())


def test_an_event_behind_an_open_circuit_names_the_dependency_the_reason_and_the_next_try() -> None:
    event = publish("test.baked")
    circuits.open_circuit(Unavailable("oven", "it is cold"))

    sentence = explained(event)

    assert sentence.startswith("It waits for oven, which is away since 2")
    assert "it is cold. The next try is at 2" in sentence
    assert sentence.endswith("It goes on by itself and loses no attempt.")


def test_a_dependency_that_a_person_holds_is_not_called_away() -> None:
    event = publish("test.baked")
    circuits.hold("oven", pause=timedelta(hours=1), reason="by olga: it is cleaned")

    assert "It waits because oven is held since 2" in explained(event)
    assert "(by olga: it is cleaned). It goes on by itself at 2" in explained(event)


def test_an_event_behind_another_of_its_aggregate_names_that_event() -> None:
    first, second = publish(id="parcel"), publish(id="parcel")

    assert f"It waits for event {first.pk} (test.noted)" in explained(second)


def test_an_event_that_failed_says_how_often_and_when_it_is_tried_again() -> None:
    event = stored("test.noted", attempts=3, available_at=timezone.now() + timedelta(hours=1))

    assert explained(event).startswith("It failed 3 of 8 times. The next attempt is at 2")


def test_an_event_for_later_says_when_it_is_due() -> None:
    event = stored("test.noted", available_at=timezone.now() + timedelta(hours=1))

    assert explained(event).startswith("It is due at 2")


def test_an_event_that_nobody_handles_says_so() -> None:
    assert "no handler is registered for test.forgotten" in explained(stored("test.forgotten"))


def test_a_recorded_event_is_delivered_to_nobody() -> None:
    assert "No handler receives it" in explained(stored("test.noted", Status.DELIVERED, attempts=0))


def test_a_claimed_event_is_with_a_worker() -> None:
    event = publish()
    claim_all()

    assert re.fullmatch(r"A worker has it since 2\S+ \S+Z, in attempt 1 of 8\.", explained(event))


def test_a_claimed_event_names_the_cluster_that_has_it() -> None:
    event = publish()
    claim([event.type], batch=10, retries=10, relay=Relay.objects.get().id)

    assert explained(event).startswith("Cluster here:1 has it since 2")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (Status.DEAD, "until you retry or discard"),
        (Status.DELIVERED, "delivered"),
        (Status.DISCARDED, "discarded"),
    ],
)
def test_an_event_that_does_not_wait_says_what_became_of_it(status: Status, says: str) -> None:
    assert says in explained(stored("test.noted", status))
