"""Lost events: a worker or a relay died. What was not begun goes on, and a deadly event is found among the others."""

from datetime import timedelta
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from outbox.delivery import outcomes
from outbox.models import Event, Failure, Relay
from outbox.queue.claim import Claim, claim
from outbox.queue.lost import (
    WHILE_HANDLING,
    Loss,
    reclaim_all,
    reclaim_expired,
    reclaim_from_relays,
    reclaim_from_worker,
    return_unassigned,
)
from tests.support.published import (
    NOTED,
    claim_all,
    expire_leases,
    free_events_of_lost_workers,
    ids,
    make_due,
    publish,
    publish_all,
    status_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

RELAY = uuid4()


def claim_as(relay: object = RELAY) -> Claim:
    return claim([NOTED], batch=1000, retries=1000, relay=relay)  # type: ignore[arg-type]


def limits(*events: Event) -> list[int | None]:
    found = dict(Event.objects.filter(id__in=[e.id for e in events]).values_list("id", "batch_limit"))
    return [found[event.id] for event in events]


def attempts(*events: Event) -> list[int]:
    found = dict(Event.objects.filter(id__in=[e.id for e in events]).values_list("id", "attempts"))
    return [found[event.id] for event in events]


# --- Expired leases -------------------------------------------------------------------------------------------


def test_an_expired_lease_is_recorded_and_the_event_is_claimable_again() -> None:
    event = publish()
    claim_all()
    assert reclaim_expired() == 0

    expire_leases()

    assert reclaim_expired() == 1
    failure = Failure.objects.get(event=event)
    assert (failure.attempt, failure.worker) == (1, "lost")
    assert failure.error.startswith("The lease expired")
    make_due()
    assert [e.attempts for e in claim_all().events] == [2]


def test_an_event_whose_lease_expires_at_each_attempt_is_dead(settings: Settings) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 3
    lost, behind = publish(id=1), publish(id=1)

    for _ in range(3):
        assert ids(claim_all()) == [lost.id]
        free_events_of_lost_workers()

    assert status_of(lost) == ["dead"]
    assert Failure.objects.filter(event=lost).count() == 3
    assert ids(claim_all()) == [behind.id]


# --- A worker that died -----------------------------------------------------------------------------------------


def test_an_event_that_was_handled_alone_counts_its_attempt_and_waits_for_its_backoff(
    settings: Settings,
) -> None:
    settings.OUTBOX_BACKOFF_BASE_SECONDS = settings.OUTBOX_BACKOFF_CAP_SECONDS = 1000.0
    lost, alive = publish(), publish()
    claimed = claim_all()

    assert reclaim_from_worker(uuid4(), [lost.id]) == 0
    assert reclaim_from_worker(claimed.token, [lost.id]) == 1

    assert status_of(lost, alive) == ["pending", "claimed"]
    assert attempts(lost) == [1]
    assert Failure.objects.get().error.startswith("The worker ended while it handled this event")
    waits = Event.objects.get(id=lost.id).available_at - Event.objects.get(id=lost.id).created_at
    assert timedelta(0) < waits < timedelta(seconds=1100)


def test_the_failure_names_the_worker_and_how_it_ended() -> None:
    alone, *together = publish(), publish(), publish()
    claimed = claim_all()
    loss = Loss("Worker 100%:7 was killed (signal 9)", "100%:7", "Memory ran out.")

    reclaim_from_worker(claimed.token, [alone.id], loss)
    reclaim_from_worker(claimed.token, [event.id for event in together], loss)

    failure = Failure.objects.get()
    assert (failure.worker, failure.error) == (
        "100%:7",
        f"Worker 100%:7 was killed (signal 9) {WHILE_HANDLING} Memory ran out.",
    )
    assert set(Event.objects.exclude(id=alone.id).values_list("last_error", flat=True)) == {
        "Worker 100%:7 was killed (signal 9) while it handled 2 events together. They are tried again in halves."
    }


def test_the_failure_names_the_cluster_that_died() -> None:
    Relay.objects.create(id=RELAY, host="web-1", pid=7, wakeup="listen")
    event = publish()
    claimed = claim_as()
    outcomes.begun(claimed.token, [event.id])

    assert reclaim_from_relays([RELAY]) == 1

    failure = Failure.objects.get()
    assert (failure.worker, failure.error) == (
        "web-1:7",
        f"Cluster web-1:7 was killed, or lost its machine, {WHILE_HANDLING}",
    )


def test_events_that_were_handled_together_count_no_attempt_and_are_claimed_in_halves() -> None:
    events = publish_all(NOTED, range(5))
    claimed = claim_all()

    reclaim_from_worker(claimed.token, ids(claimed))

    assert attempts(*events) == [0] * 5
    assert limits(*events) == [3] * 5
    assert not Failure.objects.exists()
    assert Event.objects.first().last_error.startswith("The worker ended while it handled 5 events together")
    again = claim_all()
    assert [row.id for row in again.suspects] == [event.id for event in events]
    assert (again.fresh, again.retries) == ([], [])


def test_a_deadly_event_dies_after_max_attempts_alone_and_its_neighbours_lose_none(
    settings: Settings,
) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 3
    settings.OUTBOX_BACKOFF_CAP_SECONDS = settings.OUTBOX_BACKOFF_BASE_SECONDS = 0.0
    events = publish_all(NOTED, range(64))
    deadly = events[41].id
    sizes = []

    while status_of(events[41]) != ["dead"]:
        claimed = claim([NOTED], batch=64, retries=2)
        size = min(row.batch_limit or 64 for row in claimed.rows)
        groups = [ids(claimed)[start : start + size] for start in range(0, len(claimed.rows), size)]
        for group in groups:
            if deadly in group:
                sizes.append(len(group))
                reclaim_from_worker(claimed.token, group)
            else:
                outcomes.delivered(claimed.token, group)

    assert sizes == [64, 32, 16, 8, 4, 2, 1, 1, 1]
    assert attempts(events[41]) == [3]
    assert Failure.objects.count() == 3
    others = Event.objects.exclude(id=deadly)
    assert {(event.status, event.attempts) for event in others} == {("delivered", 1)}


def test_a_claim_takes_suspects_for_as_many_tasks_as_retries() -> None:
    events = publish_all(NOTED, range(10))
    Event.objects.filter(id__in=[event.id for event in events[:7]]).update(batch_limit=3)
    Event.objects.filter(id__in=[event.id for event in events[7:]]).update(batch_limit=1)

    assert ids(claim([NOTED], batch=100, retries=2)) == [event.id for event in events[:6]]
    assert ids(claim([NOTED], batch=100, retries=2)) == [event.id for event in events[6:8]]


def test_dangerous_events_have_a_limit_of_their_own_and_hold_up_no_other_suspects() -> None:
    events = publish_all(NOTED, range(6))
    Event.objects.filter(id__in=[event.id for event in events[:3]]).update(batch_limit=1)
    Event.objects.filter(id__in=[event.id for event in events[3:]]).update(batch_limit=2)

    assert ids(claim([NOTED], batch=100, retries=1, dangerous=1)) == [events[0].id]
    assert ids(claim([NOTED], batch=100, retries=1, dangerous=0)) == [events[3].id, events[4].id]
    assert ids(claim([NOTED], batch=100, retries=1, dangerous=0)) == [events[5].id]
    assert ids(claim([NOTED], batch=100, retries=2)) == [events[1].id, events[2].id]


# --- A relay that died --------------------------------------------------------------------------------------------


def test_events_of_a_dead_relay_get_their_attempt_back_and_become_suspects_of_a_whole_batch(
    settings: Settings,
) -> None:
    settings.OUTBOX_BATCH_SIZE = 200
    mine, others = publish_all(NOTED, "ab"), publish_all(NOTED, "cd")
    claim([NOTED], batch=2, retries=0, relay=RELAY)
    claim_as(uuid4())

    assert reclaim_from_relays([RELAY]) == 2

    assert status_of(*mine, *others) == ["pending", "pending", "claimed", "claimed"]
    assert attempts(*mine) == [0, 0]
    assert limits(*mine) == [200, 200]
    assert not Failure.objects.exists()


def test_the_death_of_relays_never_kills_an_event_that_was_not_begun(settings: Settings) -> None:
    settings.OUTBOX_MAX_ATTEMPTS = 2
    event = publish()

    for _ in range(10):
        assert ids(claim_as()) == [event.id]
        reclaim_from_relays([RELAY])

    assert (status_of(event), attempts(event)) == (["pending"], [0])
    assert limits(event) == [settings.OUTBOX_BATCH_SIZE]


def test_an_event_that_kills_its_whole_cluster_dies_after_max_attempts(settings: Settings) -> None:
    """Its first death is of unknown cause. From then on its worker records what it begins."""
    settings.OUTBOX_MAX_ATTEMPTS = 3
    settings.OUTBOX_BACKOFF_CAP_SECONDS = settings.OUTBOX_BACKOFF_BASE_SECONDS = 0.0
    deadly, behind = publish(id=1), publish(id=1)
    deaths = 0

    while status_of(deadly) != ["dead"]:
        claimed = claim_as()
        assert ids(claimed) == [deadly.id]
        if claimed.suspects:
            assert outcomes.begun(claimed.token, ids(claimed))
        reclaim_from_relays([RELAY])
        deaths += 1

    assert (deaths, attempts(deadly)) == (4, [3])
    assert Failure.objects.count() == 3
    assert ids(claim_as()) == [behind.id]


def test_suspects_that_a_dead_cluster_had_begun_together_are_halved_and_the_others_are_not() -> None:
    begun, waiting = publish_all(NOTED, range(4)), publish_all(NOTED, range(4, 8))
    claim_as()
    reclaim_from_relays([RELAY])
    claimed = claim_as()
    outcomes.begun(claimed.token, [event.id for event in begun])

    reclaim_from_relays([RELAY])

    assert limits(*begun) == [2] * 4
    assert limits(*waiting) == [500] * 4
    assert set(attempts(*begun, *waiting)) == {0}


def test_a_delivered_suspect_is_no_suspect_any_more() -> None:
    event = publish()
    claim_as()
    reclaim_from_relays([RELAY])
    claimed = claim_as()
    outcomes.begun(claimed.token, [event.id])

    outcomes.delivered(claimed.token, [event.id])

    event.refresh_from_db()
    assert (event.status, event.relay, event.begun) == ("delivered", None, None)


def test_a_suspect_whose_claim_has_ended_is_not_begun() -> None:
    event = publish()
    claimed = claim_as()
    reclaim_from_relays([RELAY])

    assert not outcomes.begun(claimed.token, [event.id])


def test_all_claimed_events_can_be_freed_before_the_only_cluster_starts() -> None:
    events = publish_all(NOTED, range(2500))
    claim([NOTED], batch=2500, retries=0, relay=RELAY)

    assert reclaim_all() == 2500

    assert attempts(*events) == [0] * 2500
    assert len(claim([NOTED], batch=2500, retries=5).suspects) == 2500


# --- Events that no task carries ------------------------------------------------------------------------------


def test_events_that_a_killed_relay_had_claimed_and_put_into_no_task_get_their_attempt_back() -> None:
    in_a_task, in_no_task = publish_all(NOTED, range(2))
    claimed = claim_as()

    assert return_unassigned(RELAY, [(claimed.token, in_a_task.id)]) == 1

    assert status_of(in_a_task, in_no_task) == ["claimed", "pending"]
    assert attempts(in_a_task, in_no_task) == [1, 0]


def test_a_task_of_an_earlier_claim_of_an_event_does_not_hold_the_event() -> None:
    """The worker of that task died, its event was claimed again, and then the relay died before it made a task."""
    event = publish()
    former = claim_as()
    reclaim_from_worker(former.token, [event.id])
    make_due()
    claim_as()

    assert return_unassigned(RELAY, [(former.token, event.id)]) == 1

    assert status_of(event) == ["pending"]
