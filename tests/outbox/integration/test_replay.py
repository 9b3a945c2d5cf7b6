"""Replay: delivered events are delivered again as new events, which name the old ones."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError
from django.db import transaction

import outbox
from outbox import BULK, ClaimedEvent
from outbox.models import Event, Status
from outbox.operations import replay as replaying
from outbox.operations.replay import replay
from outbox.testing import drain, handled
from tests.support.events import answer, run, stored
from tests.support.processes import exit_code

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _handlers() -> object:
    with handled("order.placed", "order.shipped", by=lambda event: None):
        yield


def delivered(type: str = "order.placed", **fields: object) -> Event:
    return stored(type, Status.DELIVERED, **fields)


def copies() -> list[str]:
    """The ids of the originals of the waiting copies, oldest first."""
    waiting = Event.objects.filter(status=Status.PENDING).order_by("id")
    return [event.headers["replay_of"] for event in waiting]


def test_a_replay_copies_the_event_and_keeps_the_old_one() -> None:
    old = delivered(payload={"total": 12}, headers={"request_id": "abc"}, attempts=3)
    before = Event.objects.filter(pk=old.pk).values().get()

    assert replay(events=Event.objects.all()) == 1

    new = Event.objects.get(status=Status.PENDING)
    assert (new.type, new.aggregatetype, new.aggregateid) == (old.type, old.aggregatetype, old.aggregateid)
    assert new.payload == {"total": 12}
    assert new.headers == {"request_id": "abc", "replay_of": str(old.pk)}
    assert (new.priority, new.attempts) == (BULK, 0)
    assert Event.objects.filter(pk=old.pk).values().get() == before


def test_a_replayed_event_reaches_its_handler() -> None:
    old = delivered()
    seen = []

    replay(events=Event.objects.all())
    with handled("order.placed", by=seen.append):
        drain()

    assert [event.headers["replay_of"] for event in seen] == [str(old.pk)]


def test_events_published_by_the_handler_of_a_replay_are_no_replays() -> None:
    def publish_more(event: ClaimedEvent) -> None:
        with transaction.atomic():
            outbox.publish("order.shipped", aggregate=("parcel", 1), payload={}, headers=event.headers)

    delivered(headers={"request_id": "abc"})
    replay(events=Event.objects.all())
    with handled("order.placed", by=publish_more):
        drain()

    assert Event.objects.get(type="order.shipped").headers == {"request_id": "abc"}


def test_only_delivered_events_with_a_handler_are_replayed() -> None:
    for status in (Status.PENDING, Status.CLAIMED, Status.DEAD, Status.DISCARDED):
        stored("order.placed", status)
    delivered("order.seen")

    assert replay(events=Event.objects.all()) == 0


def test_an_event_recorded_before_its_type_had_a_handler_can_be_replayed() -> None:
    delivered("order.placed", attempts=0)

    assert replay(events=Event.objects.all()) == 1


def test_a_replay_in_batches_keeps_the_order_and_copies_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    old = [delivered() for _ in range(5)]
    told: list[tuple[int, int]] = []

    def deliver_at_once(count: int, newest: int) -> None:
        told.append((count, newest))
        drain()

    assert replay(events=Event.objects.all(), on_batch=deliver_at_once) == 5

    assert told == [(2, old[1].pk), (2, old[3].pk), (1, old[4].pk)]
    assert Event.objects.filter(status=Status.DELIVERED).count() == 10


def test_a_second_replay_does_not_double_the_events() -> None:
    old = delivered()

    assert answer("outbox_replay", "--all")["replayed"] == 1
    drain()
    assert answer("outbox_replay", "--all")["replayed"] == 1

    assert copies() == [str(old.pk)]


def test_a_copy_is_replayed_if_its_original_was_pruned() -> None:
    old = delivered()
    replay(events=Event.objects.all())
    drain()
    Event.objects.filter(pk=old.pk).delete()

    assert answer("outbox_replay", "--all")["replayed"] == 1
    assert copies() == [str(old.pk)]


def test_a_copy_can_be_named_by_its_id() -> None:
    old = delivered()
    copy = delivered(headers={"replay_of": str(old.pk)})

    assert answer("outbox_replay", "--id", str(copy.pk))["replayed"] == 1
    assert copies() == [str(old.pk)]


def test_events_are_selected_by_type() -> None:
    delivered("order.placed")
    shipped = delivered("order.shipped")

    assert run("outbox_replay", "--type", "order.shipped") == "1 event will be delivered again.\n"
    assert copies() == [str(shipped.pk)]


def test_a_type_without_a_handler_is_refused() -> None:
    with pytest.raises(
        CommandError, match=r"The type 'order.plaecd' has no handler. Types with one: .*order.placed"
    ) as no:
        run("outbox_replay", "--type", "order.plaecd")

    assert no.value.returncode == 2


def test_events_are_selected_by_their_creation_time() -> None:
    for hours in (1, 3, 5):
        delivered(age=hours * HOUR, aggregateid=f"{hours} hours ago")
    now = datetime.now(UTC)
    since, until = (now - 4 * HOUR).isoformat(), (now - 2 * HOUR).isoformat()

    answer("outbox_replay", "--since", since, "--until", until)

    assert Event.objects.get(status=Status.PENDING).aggregateid == "3 hours ago"


def test_since_is_inclusive_and_until_is_not() -> None:
    midnight = datetime(2026, 1, 31, tzinfo=UTC)
    old = delivered(created_at=midnight)

    assert answer("outbox_replay", "--until", "2026-01-31", "--dry-run")["replayed"] == 0
    assert answer("outbox_replay", "--since", "2026-01-31", "--until", "2026-02-01")["replayed"] == 1
    assert copies() == [str(old.pk)]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-01-31T25:00:00Z"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=f"argument --since: '{text}'"):
        run("outbox_replay", "--since", text)


def test_events_are_selected_by_aggregate() -> None:
    one = delivered(aggregatetype="order", aggregateid="1:a")
    two = delivered(aggregatetype="order", aggregateid="2")
    delivered(aggregatetype="invoice", aggregateid="2")

    assert answer("outbox_replay", "--aggregate", "order:1:a")["replayed"] == 1
    assert copies() == [str(one.pk)]
    assert answer("outbox_replay", "--aggregate", "order")["replayed"] == 2
    assert copies() == [str(one.pk), str(one.pk), str(two.pk)]


def test_a_dry_run_says_how_many_and_publishes_nothing() -> None:
    delivered()

    assert answer("outbox_replay", "--all", "--dry-run") == {"dry_run": True, "replayed": 1}
    assert run("outbox_replay", "--all", "--dry-run") == "Would replay 1 event.\n"
    assert copies() == []


def test_an_interrupted_replay_says_how_to_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    old = [delivered() for _ in range(3)]
    next_batch = replaying._next  # noqa: SLF001 - Ctrl-C after the first batch

    def interrupted(events: object, newest: int, end: int) -> list[int]:
        if newest:
            raise KeyboardInterrupt
        return next_batch(events, newest, end)  # type: ignore[arg-type]

    monkeypatch.setattr(replaying, "_next", interrupted)
    with pytest.raises(CommandError, match=rf"after 2 of 3 events.* --after {old[1].pk}$"):
        run("outbox_replay", "--all")
    monkeypatch.undo()

    assert answer("outbox_replay", "--all", "--after", str(old[1].pk))["replayed"] == 1
    assert copies() == [str(event.pk) for event in old]


@pytest.mark.django_db(transaction=True)
def test_exit_codes() -> None:
    assert exit_code("outbox_replay", "--all", "--dry-run") == 0
    assert exit_code("outbox_replay") == 2
    assert exit_code("outbox_replay", "--since", "yesterday") == 2
