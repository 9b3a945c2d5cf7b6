"""The event joins the transaction of the change it tells of."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

import outbox
from outbox.models import Event, Status, open_events
from outbox.publishing.headers import bound
from outbox.testing import handled
from tests.support.outbox_app.models import Effect, Target
from tests.support.published import NOTED, claim_all, ids, publish, publish_all

ORDER = ("order", 7)


@pytest.mark.django_db(transaction=True)
def test_publishing_outside_a_transaction_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(outbox.NotInTransaction, match=r"Wrap the change and its event in transaction.atomic"):
        outbox.publish(NOTED, aggregate=ORDER, payload={})


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_does_not_count() -> None:
    with pytest.raises(outbox.NotInTransaction):
        outbox.publish(NOTED, aggregate=ORDER, payload={})


@pytest.mark.django_db(transaction=True)
def test_row_and_event_are_stored_together_or_neither() -> None:
    with transaction.atomic():
        Target.objects.create(key="lost", version=1)
        outbox.publish(NOTED, aggregate=ORDER, payload={})
        transaction.set_rollback(True)
    assert not Target.objects.exists()
    assert not Event.objects.exists()

    with transaction.atomic():
        Target.objects.create(key="kept", version=1)
        event = outbox.publish(NOTED, aggregate=ORDER, payload={"total": 12})
    stored = Event.objects.get()
    assert (stored.id, stored.aggregatetype, stored.aggregateid) == (event.id, "order", "7")
    assert (stored.type, stored.payload, stored.status, stored.priority) == (
        NOTED,
        {"total": 12},
        "pending",
        0,
    )


@pytest.mark.django_db
def test_many_events_are_one_statement() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        outbox.publish_many(
            outbox.NewEvent(type=NOTED, aggregatetype="order", aggregateid=number, payload={})
            for number in range(2000)
        )

    assert len(queries) == 1
    assert Event.objects.count() == 2000


@pytest.mark.django_db
def test_publishing_no_events_runs_no_statement() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        assert outbox.publish_many([]) == []

    assert len(queries) == 0


MAKE = f"""
INSERT INTO {Effect._meta.db_table} (event, aggregateid, worker, together, at)
SELECT n, '', 0, 0, now() FROM generate_series(1, %s) AS n RETURNING id, event
"""  # noqa: SLF001


def make(count: int, *, events: int | None = None, **payload: Any) -> list[Any]:
    """Rows with an event each."""
    told = (
        outbox.RowEvent(type=NOTED, aggregatetype="effect", payload={"n": n, **payload})
        for n in range(1, (count if events is None else events) + 1)
    )
    return outbox.publish_with(MAKE, [count], told, key="effect_id")


@pytest.mark.django_db(transaction=True)
def test_rows_and_their_events_are_stored_by_one_statement_without_a_transaction() -> None:
    with CaptureQueriesContext(connection) as queries, bound({"request_id": "r1"}):
        made = make(2000)

    assert len(queries) == 1
    assert made == list(Effect.objects.order_by("id").values_list("id", "event"))
    events = Event.objects.order_by("id")
    assert [(event.aggregateid, event.payload) for event in events] == [
        (str(id), {"n": n, "effect_id": id}) for id, n in made
    ]
    assert {(event.aggregatetype, event.status, event.headers["request_id"]) for event in events} == {
        ("effect", "pending", "r1")
    }


@pytest.mark.django_db(transaction=True)
def test_rows_whose_event_cannot_be_stored_are_not_stored() -> None:
    with pytest.raises(DatabaseError):
        make(3, text="\0")

    assert not Effect.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize("events", [2, 4])
@pytest.mark.django_db(transaction=True)
def test_different_numbers_of_rows_and_events_are_refused(events: int) -> None:
    with pytest.raises(IntegrityError):
        make(3, events=events)

    assert not Effect.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_an_integer_of_any_size_is_kept() -> None:
    event = publish(number=2**70)

    event.refresh_from_db()
    assert event.payload == {"number": 2**70}


@pytest.mark.django_db
def test_a_payload_that_is_no_json_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"The payload of test\.noted is no JSON: .*datetime is not JSON serializable"
    ):
        publish(at=datetime.now(UTC))

    assert not Event.objects.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [1, {"a": (x,)}]], ids=["alone", "deep"])
@pytest.mark.django_db(transaction=True)
def test_a_number_that_json_does_not_have_is_refused(value: float, wrap: Any) -> None:
    refused = pytest.raises(ValueError, match=r"The payload of test\.\w+ is no JSON: it contains the number")
    with refused:
        publish(number=wrap(value), nothing=None)
    with refused:
        outbox.record("test.recorded", aggregate=ORDER, payload={"number": wrap(value)})
    with refused:
        make(1, number=wrap(value))

    assert not Event.objects.exists()


@pytest.mark.parametrize("key", [1, None, 2.5, True, (1,)])
@pytest.mark.django_db
def test_a_key_that_is_no_string_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=r"The payload of test\.noted is no JSON: .*key"):
        publish(inner={key: 1})

    assert not Event.objects.exists()


@pytest.mark.django_db
def test_an_event_is_open_until_it_is_settled() -> None:
    publish("test.recorded")
    waiting, claimed, settled = publish_all(NOTED, "abc")
    Event.objects.filter(id=claimed.id).update(status=Status.CLAIMED)
    Event.objects.filter(id=settled.id).update(status=Status.DEAD)

    assert set(open_events()) == {waiting, claimed}


@pytest.mark.django_db
def test_a_declared_type_is_recorded_and_delivered_to_nobody() -> None:
    event = publish("test.recorded")

    event.refresh_from_db()
    assert (event.status, event.attempts) == ("delivered", 0)
    assert event.delivered_at


@pytest.mark.django_db(transaction=True)
def test_an_action_without_a_change_is_recorded_by_one_statement() -> None:
    with bound({"request_id": "r1"}), CaptureQueriesContext(connection) as queries:
        outbox.record("test.recorded", aggregate=ORDER, payload={"total": 2**70})

    assert len(queries) == 1
    event = Event.objects.get()
    assert (event.aggregatetype, event.aggregateid, event.type) == ("order", "7", "test.recorded")
    assert (event.payload, event.headers) == ({"total": 2**70}, {"request_id": "r1"})
    assert (event.status, event.attempts) == ("delivered", 0)
    assert event.delivered_at


def test_a_type_with_a_handler_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match=r"test.noted has a handler: publish\(\) it in the transaction"):
        outbox.record(NOTED, aggregate=ORDER, payload={})


@pytest.mark.django_db
def test_an_unknown_type_is_refused_and_the_known_types_are_named() -> None:
    with pytest.raises(outbox.UnknownEventType, match=r"'test.notted'.*Known types: .*test\.noted"):
        publish("test.notted")


def test_a_second_handler_for_a_type_is_refused() -> None:
    with (
        handled("order.placed", by=print),
        pytest.raises(ValueError, match=r"order.placed already has a handler"),
    ):
        outbox.handler("order.placed")(publish)


@pytest.mark.django_db
def test_bound_headers_travel_and_the_event_overrides_them() -> None:
    with bound({"request_id": "r1", "traceparent": "t1"}), transaction.atomic():
        event = outbox.publish(NOTED, aggregate=ORDER, payload={}, headers={"traceparent": "t2"})

    assert event.headers == {"request_id": "r1", "traceparent": "t2"}


@pytest.mark.django_db(transaction=True)
def test_another_program_publishes_with_a_plain_insert() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload) "
            "VALUES ('order', '7', 'test.noted', '{\"total\": 12}') RETURNING id"
        )
        (id,) = cursor.fetchone()

    assert ids(claim_all()) == [id]


@pytest.mark.django_db
def test_an_event_keeps_the_priority_it_was_given() -> None:
    (event,) = publish_all(NOTED, [1], priority=outbox.BULK)

    event.refresh_from_db()
    assert event.priority == outbox.BULK


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'outbox' has no attribute 'publicize'"):
        _ = outbox.publicize


@pytest.mark.django_db
def test_an_event_has_a_readable_text() -> None:
    event = publish("test.recorded")

    assert str(event) == f"test.recorded #{event.id} (delivered)"
