"""Backpressure: new work is refused while too many events wait."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

import outbox
from outbox.models import Event, Status
from outbox.publishing import backpressure
from outbox.testing import handled

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    backpressure.forget()
    yield
    backpressure.forget()


def publish(count: int, *, priority: int = outbox.INTERACTIVE, **payload: str) -> None:
    with handled("order.placed", by=lambda event: None), transaction.atomic():
        outbox.publish_many(
            outbox.NewEvent(
                type="order.placed", aggregatetype="order", aggregateid=n, payload=payload, priority=priority
            )
            for n in range(count)
        )


def refusal() -> outbox.BacklogTooDeep:
    backpressure.forget()
    with pytest.raises(outbox.BacklogTooDeep) as refused:
        backpressure.refuse_if_too_deep()
    return refused.value


def test_a_backlog_at_the_limit_is_not_refused(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(10)

    backpressure.refuse_if_too_deep()


def test_one_event_above_the_limit_is_refused(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(11)

    assert str(refusal()) == "11 events wait to be delivered, more than 10."


def test_delivered_and_dead_events_do_not_count(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(30)
    ids = list(Event.objects.values_list("id", flat=True))
    Event.objects.filter(id__in=ids[:10]).update(status=Status.DELIVERED)
    Event.objects.filter(id__in=ids[10:20]).update(status=Status.DEAD)

    backpressure.refuse_if_too_deep()


def test_bulk_events_refuse_bulk_work_and_no_interactive_work(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(8)
    publish(20, priority=outbox.BULK)

    backpressure.refuse_if_too_deep()
    with pytest.raises(outbox.BacklogTooDeep, match="more than 10"):
        backpressure.refuse_if_too_deep(outbox.BULK)


def test_too_many_interactive_events_refuse_all_work(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(11)
    publish(5, priority=outbox.BULK)

    assert refusal().retry_after == backpressure.LONGEST
    with pytest.raises(outbox.BacklogTooDeep, match="16 events"):
        backpressure.refuse_if_too_deep(outbox.BULK)


class TestGroups:
    """OUTBOX_BACKLOG_GROUP shares the backlog by a key of the payloads."""

    @pytest.fixture(autouse=True)
    def _by_customer(self, settings: Any) -> None:
        settings.OUTBOX_MAX_BACKLOG, settings.OUTBOX_BACKLOG_GROUP = 10, "customer"

    def refused(self, group: str | None, priority: int = outbox.INTERACTIVE) -> bool:
        backpressure.forget()
        try:
            backpressure.refuse_if_too_deep(priority, group=group)
        except outbox.BacklogTooDeep:
            return True
        return False

    def test_nobody_is_refused_at_the_limit(self) -> None:
        publish(10, customer="ada")

        assert not self.refused("ada")

    def test_above_it_only_those_with_more_than_their_share(self) -> None:
        publish(11, customer="ada")
        publish(3, customer="bob")

        assert self.refused("ada")
        assert not self.refused("bob")
        assert not self.refused("charlie")

    def test_the_share_shrinks_as_more_wait(self) -> None:
        publish(6, customer="ada")
        publish(6, customer="bob")

        assert self.refused("ada")
        publish(3, customer="charlie")
        assert not self.refused("charlie"), "three of ten are a third's share"
        publish(1, customer="charlie")
        assert self.refused("charlie")

    def test_bulk_events_count_for_bulk_work_only(self) -> None:
        publish(20, customer="ada", priority=outbox.BULK)

        assert not self.refused("ada")
        assert self.refused("ada", outbox.BULK)
        assert not self.refused("bob", outbox.BULK)

    def test_who_names_no_group_is_refused_as_before(self) -> None:
        publish(11, customer="ada")

        assert self.refused(None)

    def test_events_without_the_key_are_nobodys(self) -> None:
        publish(11)

        assert not self.refused("ada")

    def test_the_refusal_names_the_share(self) -> None:
        publish(11, customer="ada")
        backpressure.forget()

        with pytest.raises(
            outbox.BacklogTooDeep, match=r"11 events of yours wait .* more than your share of 10"
        ):
            backpressure.refuse_if_too_deep(group="ada")

    def test_events_for_later_count_for_no_group(self) -> None:
        publish(11, customer="ada")
        Event.objects.update(available_at=Now() + timedelta(days=1))
        publish(11, customer="bob")

        assert self.refused("bob")
        assert not self.refused("ada")


def test_events_for_later_do_not_count_before_they_are_due(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(8)
    publish(30)
    publish(30, priority=outbox.BULK)
    Event.objects.filter(id__gt=Event.objects.order_by("id")[7].id).update(
        available_at=Now() + timedelta(days=1)
    )

    backpressure.refuse_if_too_deep()
    backpressure.refuse_if_too_deep(outbox.BULK)

    Event.objects.update(available_at=Now())
    assert "21 events" in str(refusal())


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 1},
        {"attempts": 1, "available_at": Now() + timedelta(minutes=5)},
        {"batch_limit": 4},
        {"parked_until": Now() + timedelta(minutes=5)},
        {"status": Status.CLAIMED},
    ],
    ids=["retry", "backoff", "suspect", "parked", "claimed"],
)
def test_events_in_every_other_state_of_waiting_count(settings: Any, fields: dict[str, Any]) -> None:
    settings.OUTBOX_MAX_BACKLOG = 10
    publish(11)
    Event.objects.update(**fields)

    assert str(refusal()).startswith("11 events")


def test_a_limit_of_zero_refuses_nothing(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 0
    publish(5)

    backpressure.refuse_if_too_deep()


def test_retry_after_follows_from_the_drain_rate(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 100
    publish(250)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_event SET status = 'delivered', delivered_at = now(), attempts = 1 "
            "WHERE id IN (SELECT id FROM outbox_event ORDER BY id LIMIT 50)"
        )

    # 100 too many and 5 to make room, at 50 in 10 seconds
    assert refusal().retry_after == 21


def test_retry_after_is_the_longest_if_nothing_drains(settings: Any) -> None:
    settings.OUTBOX_MAX_BACKLOG = 1
    publish(2)

    assert refusal().retry_after == backpressure.LONGEST


def test_the_events_are_counted_once_in_two_seconds(
    settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "SECONDS", 1000.0)
    settings.OUTBOX_MAX_BACKLOG = 10
    with django_assert_num_queries(1):
        for _ in range(100):
            backpressure.refuse_if_too_deep()


def test_the_count_stops_at_the_limit(settings: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan TO off")
        cursor.execute("EXPLAIN " + backpressure.OPEN, {"limit": 10})
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert "Limit" in plan
    assert "outbox_event_open" in plan


def test_the_due_events_are_counted_without_reading_the_events_for_later(settings: Any) -> None:
    publish(5)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, available_at, priority) "
            "SELECT 'order', n::text, 'order.placed', '{}', now() + interval '1 day', n % 2 * 10 "
            "FROM generate_series(1, 20000) AS n"
        )
        cursor.execute("VACUUM (ANALYZE) outbox_event")
        cursor.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + backpressure.DUE, {"limit": 1000, "priority": 32767}
        )
        [(plan,)] = cursor.fetchall()

    blocks = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert blocks < 100
