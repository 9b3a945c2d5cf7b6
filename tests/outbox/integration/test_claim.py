"""Claims: in order, one event at a time for each aggregate, no event twice."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from threading import Event as Flag

import pytest
from django.db import connection, transaction
from django.utils import timezone

import outbox
from outbox.delivery import outcomes
from outbox.models import Event
from outbox.queue import claim as claiming
from outbox.queue.claim import Claim, claim
from tests.support.published import (
    NOTED,
    TOGETHER,
    claim_all,
    ids,
    make_due,
    publish,
    publish_all,
    status_of,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_claim_counts_the_attempt_and_starts_a_lease_by_the_clock_of_the_database() -> None:
    event = publish(total=12)

    claimed = claim_all()

    assert [(e.id, e.payload, e.attempts) for e in claimed.events] == [(event.id, {"total": 12}, 1)]
    event.refresh_from_db()
    assert (event.status, event.attempts, event.claim_token) == ("claimed", 1, claimed.token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT lease_expires_at - clock_timestamp() FROM outbox_event")
        (left,) = cursor.fetchone()
    assert timedelta(seconds=200) < left <= timedelta(seconds=300)


def test_a_claimed_event_is_not_claimed_again() -> None:
    publish()
    claim_all()

    assert claim_all().events == []


def test_interactive_events_go_before_bulk_and_older_before_newer() -> None:
    bulk = publish_all(NOTED, ["a", "b"], priority=outbox.BULK)
    interactive = publish_all(TOGETHER, ["c", "d"])

    first = claim([NOTED, TOGETHER], batch=3, retries=0)

    assert ids(first) == [interactive[0].id, interactive[1].id, bulk[0].id]


def test_bulk_events_are_taken_in_turn_from_each_type_and_interactive_ones_by_age() -> None:
    publish_all(NOTED, range(10), priority=outbox.BULK)
    publish_all(TOGETHER, range(10, 14), priority=outbox.BULK)
    first = publish_all(NOTED, range(14, 17))
    publish_all(TOGETHER, range(17, 20))

    urgent = claim([NOTED, TOGETHER], batch=3, retries=0)
    claim([NOTED, TOGETHER], batch=3, retries=0)
    bulk = claim([NOTED, TOGETHER], batch=6, retries=0)

    assert ids(urgent) == [event.id for event in first]
    assert Counter(event.type for event in bulk.events) == {NOTED: 3, TOGETHER: 3}


def test_an_event_waits_for_the_earlier_ones_of_its_aggregate() -> None:
    first, second = publish(id=1), publish(id=1)
    other = publish(id=2)

    claimed = claim_all()
    assert ids(claimed) == [first.id, other.id]
    assert claim_all().events == []

    outcomes.delivered(claimed.token, [first.id])
    assert ids(claim_all()) == [second.id]


def test_an_event_waits_while_an_earlier_one_of_its_aggregate_waits_for_its_retry() -> None:
    first, second = publish(id=1), publish(id=1)
    outcomes.failed(claim_all().token, [first.id], ValueError("no"))
    Event.objects.filter(id=first.id).update(available_at=timezone.now() + timedelta(minutes=5))

    assert claim_all().events == []

    make_due()
    again = claim_all()
    assert ids(again) == [first.id]
    outcomes.delivered(again.token, [first.id])
    assert ids(claim_all()) == [second.id]


def test_a_dead_event_does_not_block_the_next_one() -> None:
    first, second = publish(id=1), publish(id=1)
    outcomes.failed(claim_all().token, [first.id], ValueError("no"), final=True)

    assert status_of(first) == ["dead"]
    assert ids(claim_all()) == [second.id]


def test_a_retried_dead_letter_waits_for_a_claimed_event_of_its_aggregate() -> None:
    first, second = publish(id=1), publish(id=1)
    outcomes.failed(claim_all().token, [first.id], ValueError("no"), final=True)
    in_hand = claim_all()
    Event.objects.filter(id=first.id).update(status="pending", attempts=0)

    assert claim_all().events == []

    outcomes.delivered(in_hand.token, [second.id])
    make_due()
    assert ids(claim_all()) == [first.id]


@pytest.mark.parametrize("tries", [1, 3])
def test_one_of_two_concurrent_claims_gets_the_events_of_an_aggregate(
    monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    """An event published earlier that commits later is not seen by who claims meanwhile: the index has the say. What
    else this one would have claimed with it, it gets at its next try."""
    monkeypatch.setattr(claiming, "TRIES", tries)
    first, second = publish(id=1), publish(id=1)
    Event.objects.filter(id=first.id).update(status="dead")
    has_claimed, may_commit = Flag(), Flag()

    def other_cluster() -> list[int]:
        try:
            with transaction.atomic():
                claimed = claim_all()
                has_claimed.set()
                may_commit.wait(60)
            return ids(claimed)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(other_cluster)
        assert has_claimed.wait(60)
        Event.objects.filter(id=first.id).update(status="pending")
        apart = publish(id=2)
        mine = ThreadPoolExecutor(1).submit(_claim_and_close)
        _wait_for_a_blocked_backend()
        may_commit.set()
        assert other.result() == [second.id]
        assert ids(mine.result()) == [apart.id][: tries - 1]
    assert status_of(first, second) == ["pending", "claimed"]


def _claim_and_close() -> Claim:
    try:
        return claim_all()
    finally:
        connection.close()


def _wait_for_a_blocked_backend() -> None:
    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchone()[0])

    wait_until(blocked)


def test_only_the_given_types_are_claimed() -> None:
    publish("test.baked")

    assert claim_all(NOTED).events == []
    assert claim([], batch=10, retries=10).events == []


def test_since_limits_fresh_events_and_not_retries() -> None:
    failed, old = publish(), publish()
    outcomes.failed(claim([NOTED], batch=1, retries=0).token, [failed.id], ValueError())
    make_due()
    new = [publish(), publish()]
    since = Event.objects.get(id=new[0].id).available_at.timestamp()

    assert ids(claim([NOTED], batch=9, retries=9, since=since)) == [failed.id, *(event.id for event in new)]
    assert ids(claim([NOTED], batch=9, retries=9)) == [old.id]


def test_a_claim_without_retries_takes_fresh_events_only() -> None:
    failed, suspect, new = publish(), publish(), publish()
    outcomes.failed(claim([NOTED], batch=1, retries=0).token, [failed.id], ValueError())
    make_due()
    Event.objects.filter(id=suspect.id).update(batch_limit=1)

    assert ids(claim([NOTED], batch=9, retries=0)) == [new.id]
    assert ids(claim([NOTED], batch=9, retries=9)) == [failed.id, suspect.id]


def test_an_event_is_not_claimed_before_available_at() -> None:
    event = publish()
    Event.objects.update(available_at=timezone.now() + timedelta(hours=1))
    assert claim_all().events == []

    Event.objects.update(available_at=timezone.now() - timedelta(seconds=1))
    assert ids(claim_all()) == [event.id]


def test_a_claim_limits_fresh_events_and_retries() -> None:
    failed = publish_all(NOTED, range(5))
    outcomes.failed(claim_all().token, [event.id for event in failed], ValueError("no"))
    make_due()
    fresh = publish_all(NOTED, range(10, 15))

    claimed = claim([NOTED], batch=3, retries=2)

    assert [row.id for row in claimed.fresh] == [event.id for event in fresh[:3]]
    assert [row.id for row in claimed.retries] == [event.id for event in failed[:2]]


def test_concurrent_relays_claim_no_event_twice_and_no_two_of_an_aggregate() -> None:
    aggregates, depth = 200, 10
    for _ in range(depth):
        publish_all(NOTED, range(aggregates))
    delivered: list[tuple[str, int]] = []

    def relay() -> None:
        try:
            while len(delivered) < aggregates * depth:
                claimed = claim([NOTED], batch=30, retries=5)
                delivered.extend((event.aggregateid, event.id) for event in claimed.events)
                outcomes.delivered(claimed.token, ids(claimed))
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        for running in [pool.submit(relay) for _ in range(3)]:
            running.result(timeout=100)

    assert len({id for _, id in delivered}) == len(delivered) == aggregates * depth
    for aggregate in map(str, range(aggregates)):
        in_order = [id for of, id in delivered if of == aggregate]
        assert all(earlier < later for earlier, later in pairwise(in_order))
