"""outbox.testing, the test helpers for projects: inside and outside of a test's transaction."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

import outbox
from outbox.models import Event, Status
from outbox.registry import handler_of
from outbox.testing import captured_events, drain, handled
from tests.support.events import stored


def publish(type: str = "order.placed") -> Event:
    with transaction.atomic():
        return outbox.publish(type, aggregate=("order", 1), payload={})


class Draining:
    def test_what_was_published_is_delivered(self) -> None:
        seen: list[outbox.ClaimedEvent] = []
        with handled("order.placed", by=seen.append):
            event = publish()
            assert drain() == 1
        assert [claimed.id for claimed in seen] == [event.pk]
        assert Event.objects.get().status == Status.DELIVERED

    def test_what_a_handler_publishes_is_delivered_too(self) -> None:
        with (
            handled("order.placed", by=lambda event: publish("order.shipped")),
            handled("order.shipped", by=lambda event: None),
        ):
            publish()
            assert drain() == 2

    def test_a_failed_event_waits_for_its_backoff(self) -> None:
        with handled("order.placed", by=fail):
            publish()
            assert drain() == 1
        assert Event.objects.get().status == Status.PENDING
        assert Event.objects.get().last_error == "ValueError: no such order"

    def test_through_backoff_it_is_tried_until_it_is_dead(self) -> None:
        with handled("order.placed", by=fail):
            publish()
            assert drain(through_backoff=True) == 8
        assert Event.objects.get().status == Status.DEAD

    def test_an_event_is_not_claimed_before_available_at(self) -> None:
        stored("order.placed", available_at=timezone.now() + timedelta(hours=1))
        with handled("order.placed", by=lambda event: None):
            assert drain() == 0
            assert drain(through_backoff=True) == 1

    def test_what_needs_an_unavailable_dependency_is_tried_once(self) -> None:
        with handled("order.placed", by=away, needs=["mailer"]):
            publish()
            assert drain() == 1
            assert drain() == 0
        assert Event.objects.get().status == Status.PENDING

    def test_a_handler_that_feeds_itself_is_found_out(self) -> None:
        with handled("order.placed", by=lambda event: publish()):
            publish()
            with pytest.raises(AssertionError, match="There are still events after 3 rounds"):
                drain(rounds=3)


class TestInATransaction(Draining, TestCase):
    pass


class TestWithoutATransaction(Draining, TransactionTestCase):
    pass


def fail(event: outbox.ClaimedEvent) -> None:
    raise ValueError("no such order")


def away(event: outbox.ClaimedEvent) -> None:
    raise outbox.Unavailable("mailer")


@pytest.mark.django_db
def test_captured_events_are_those_published_inside_the_block() -> None:
    with handled("order.placed", "order.shipped", by=lambda event: None):
        publish()
        with captured_events() as events:
            inside = [publish(), publish("order.shipped")]
            assert events == []
        publish()

    assert events == inside


@pytest.mark.django_db
def test_captured_events_can_be_of_one_type_only() -> None:
    with (
        handled("order.placed", "order.shipped", by=lambda event: None),
        captured_events("order.shipped") as events,
    ):
        publish()
        shipped = publish("order.shipped")

    assert events == [shipped]


def test_a_handler_is_replaced_inside_the_block() -> None:
    def mine(event: outbox.ClaimedEvent) -> None: ...

    def theirs(event: outbox.ClaimedEvent) -> None: ...

    with handled("order.placed", by=theirs):
        with handled("order.placed", by=mine, needs=["mailer"], batch=True):
            inside = handler_of("order.placed")
        after = handler_of("order.placed")

    assert inside is not None
    assert (inside.function, inside.needs, inside.batch) == (mine, {"mailer"}, True)
    assert after is not None
    assert after.function is theirs
    assert handler_of("order.placed") is None
