"""What is wrong, in sentences: the admin, outbox_status and outbox_doctor say the same."""

from datetime import timedelta

import pytest
from django.utils import timezone

from outbox import Unavailable
from outbox.models import Failure, Relay, Status
from outbox.operations import problems
from outbox.queue import circuits
from tests.support.events import run, stored
from tests.support.published import publish

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_cluster_runs() -> None:
    Relay.objects.create(id="00000000-0000-0000-0000-000000000001", host="here", pid=1, wakeup="listen")


def found() -> list[str]:
    return [problem.kind for problem in problems.find()]


def test_nothing_is_wrong_while_events_are_on_their_way() -> None:
    publish()

    assert problems.find() == []


def test_without_a_cluster_it_says_since_when_and_how_to_start_one() -> None:
    publish()
    Relay.objects.update(alive_at=timezone.now() - timedelta(minutes=3))

    [problem] = problems.find()

    assert str(problem).startswith("No cluster runs since 2")
    assert "1 event waits; new events" in str(problem)
    assert "manage.py qcluster" in str(problem)


def test_a_cluster_that_stopped_cleanly_is_missed_without_a_time() -> None:
    Relay.objects.update(alive_at="1970-01-01T00:00Z")

    [problem] = problems.find()

    assert str(problem).startswith("No cluster runs. ")


def test_an_outage_names_dependency_reason_events_and_the_next_try() -> None:
    publish("test.baked")
    circuits.open_circuit(Unavailable("oven", "it is cold."))

    [problem] = problems.find()

    assert str(problem).startswith("oven is away (it is cold) since 2")
    assert "1 event waits for it and loses no attempt." in str(problem)
    assert "It is tried again at 2" in str(problem)
    assert problem.subject == "oven"


def test_a_hold_says_who_and_until_when() -> None:
    circuits.hold("oven", pause=timedelta(hours=1), reason="by olga: it is cleaned")

    [problem] = problems.find()

    assert str(problem).startswith("oven is held (by olga: it is cleaned) since 2")
    assert "No event waits for it." in str(problem)
    assert "The hold ends at 2" in str(problem)


def test_dead_letters_are_counted_since_the_first_failure() -> None:
    for _ in range(2):
        dead = stored("test.noted", Status.DEAD)
        Failure.objects.create(event=dead, attempt=8, error="no", worker="here:1")

    [problem] = problems.find()

    assert str(problem).startswith("2 events could not be delivered since 2")
    assert str(problem).endswith("They wait until you retry or discard them.")


def test_a_type_that_nobody_handles_is_named() -> None:
    stored("test.forgotten")

    [problem] = problems.find()

    assert str(problem).startswith("No handler is registered for test.forgotten. 1 event of it waits.")


def test_old_events_are_a_problem_of_their_own_only_if_nothing_else_explains_them() -> None:
    stored("test.noted", age=timedelta(minutes=12))
    assert found() == ["late"]
    assert "Events wait for 12 minutes" in str(problems.find()[0])

    Relay.objects.all().delete()
    assert found() == ["cluster"]


def test_the_most_urgent_comes_first() -> None:
    stored("test.noted", Status.DEAD)
    circuits.open_circuit(Unavailable("oven", "it is cold"))
    Relay.objects.all().delete()

    assert found() == ["cluster", "circuit", "dead"]


def test_outbox_status_begins_with_them() -> None:
    stored("test.noted", Status.DEAD)

    assert run("outbox_status").splitlines()[0].startswith("1 event could not be delivered")
