"""Parking: thousands of events of one aggregate, of which one may run, do not slow down other claims."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from outbox.delivery import outcomes
from outbox.models import Event
from outbox.queue import ordering
from outbox.queue.ordering import park, unblock_all, unblock_next, unpark_expired
from outbox.relay.listener import Listener
from tests.support.clusters import url_of_the_tests_database
from tests.support.published import NOTED, TOGETHER, claim_all, ids, publish, publish_all, status_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check ten events of a type instead of a thousand."""
    monkeypatch.setattr(ordering, "FRONT", 10)
    monkeypatch.setattr(ordering, "WORTHWHILE", 8)
    monkeypatch.setattr(ordering, "STRIDE", 20)


def jam(depth: int) -> list[Event]:
    return publish_all(NOTED, ["one"] * depth)


def settle_without_unblocking(event: Event) -> None:
    """As a worker does that is killed between the two statements."""
    Event.objects.filter(id=event.id).update(status="delivered", claim_token=None, relay=None)


def aside() -> int:
    return Event.objects.filter(parked_until__isnull=False).count()


@pytest.mark.usefixtures("few")
def test_many_blocked_events_are_parked() -> None:
    first, *_ = jam(50)
    others = publish_all(NOTED, range(3))

    moved = park([NOTED])

    assert 49 - ordering.WORTHWHILE < moved == aside()
    assert ids(claim_all()) == [first.id, *(event.id for event in others)]


@pytest.mark.usefixtures("few")
def test_few_blocked_events_are_not_parked() -> None:
    jam(8)
    publish_all(NOTED, range(100))

    assert park([NOTED, TOGETHER]) == 0
    assert aside() == 0


@pytest.mark.usefixtures("few")
def test_settling_an_event_unparks_its_successor() -> None:
    events = jam(30)
    park([NOTED])

    for number, event in enumerate(events):
        claimed = claim_all()
        assert ids(claimed) == [event.id]
        if number % 3:
            outcomes.delivered(claimed.token, [event.id])
        else:
            outcomes.failed(claimed.token, [event.id], ValueError("no"), final=True)
    assert aside() == 0


@pytest.mark.usefixtures("few")
def test_events_behind_a_retry_stay_parked() -> None:
    first, *_ = jam(30)
    moved = park([NOTED])

    outcomes.failed(claim_all().token, [first.id], ValueError("no"))

    assert aside() == moved


@pytest.mark.usefixtures("few")
def test_an_event_that_a_dead_cluster_left_parked_is_unparked() -> None:
    first, second, *_ = jam(30)
    moved = park([NOTED])
    settle_without_unblocking(first)
    assert claim_all().events == []

    assert unblock_all() == 1

    assert ids(claim_all()) == [second.id]
    assert aside() == moved - 1


@pytest.mark.usefixtures("few")
def test_an_event_that_is_parked_for_too_long_is_unparked() -> None:
    jam(30)
    moved = park([NOTED])
    assert unpark_expired() == 0

    Event.objects.filter(parked_until__isnull=False).update(parked_until="2000-01-01T00:00Z")

    assert unpark_expired() == moved
    assert aside() == 0


@pytest.fixture
def another_session() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url_of_the_tests_database(), cursor_factory=psycopg.ClientCursor) as session:
        yield session


@pytest.mark.usefixtures("few")
def test_an_event_whose_turn_comes_while_it_is_parked_is_unparked(
    another_session: psycopg.Connection[Any],
) -> None:
    """With SKIP LOCKED, the worker that settles skips an event that is being parked. So `park` checks again."""
    first, second, *rest = jam(30)
    claimed = claim_all()
    parameters = {"types": [NOTED], "limit": 100, "worthwhile": 1, "seconds": 300}
    moved = another_session.execute(ordering.PARK, parameters).fetchall()
    assert len(moved) == 29

    outcomes.delivered(claimed.token, [first.id])
    another_session.commit()
    assert claim_all().events == []
    another_session.execute(ordering.UNBLOCK_PARKED, {"ids": [id for (id,) in moved]})
    another_session.commit()

    assert ids(claim_all()) == [second.id]
    assert aside() == len(rest)


def test_settling_an_event_announces_its_successor() -> None:
    first, _second = publish(id=1), publish(id=1)
    alone = publish(id=2)
    claimed = claim_all()
    listener = Listener()
    try:
        listener.wait(0)
        outcomes.delivered(claimed.token, [alone.id])
        assert not listener.wait(0.05)

        outcomes.delivered(claimed.token, [first.id])
        assert listener.wait(5)
    finally:
        listener.close()


def test_unblocking_no_events_runs_no_statement() -> None:
    with connection.execute_wrapper(_refuse):
        unblock_next([])


def _refuse(*_: Any) -> None:
    raise AssertionError("asked")


def test_five_thousand_blocked_events_do_not_delay_other_aggregates() -> None:
    """5,000 events of one aggregate wait before one event of another."""
    jam(5000)
    other = publish()

    assert park([NOTED]) >= ordering.WORTHWHILE
    assert Event.objects.filter(parked_until=None).count() <= ordering.WORTHWHILE + 2
    claimed = claim_all()
    assert other.id in ids(claimed)
    assert len(claimed.events) == 2
    assert status_of(other) == ["claimed"]
