"""A new epoch: the stream and the queue of a restored database, on another server."""

from uuid import uuid4

import pytest
from django.db import connection

import outbox
from outbox.doctor import backlog, schema
from outbox.models import Event, Relay
from outbox.operations.epoch import begin_epoch, is_ahead
from outbox.queue.stream import HORIZON, READ, Horizon, Position, Recorded, horizon, read_parameters, recorded
from tests.support.published import publish, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TYPE = "test.recorded"
# Far beyond every transaction id of the tests' server.
ANOTHER_SERVERS = 2**40


def now() -> Horizon:
    with connection.cursor() as cursor:
        cursor.execute(HORIZON)
        return horizon(cursor.fetchone())


def read(after: Position) -> list[Recorded]:
    with connection.cursor() as cursor:
        cursor.execute(READ, read_parameters([TYPE], after, 100))
        return [recorded(row) for row in cursor.fetchall()]


def record(*, xact_id: int | None = None) -> int:
    outbox.record(TYPE, aggregate=("thing", "1"), payload={})
    event = Event.objects.latest("id")
    if xact_id:
        Event.objects.filter(pk=event.pk).update(xact_id=xact_id)
    return event.pk


def ids(events: list[Recorded]) -> list[int]:
    return [event.position.id for event in events]


def test_events_of_another_server_come_before_those_of_this_one_and_none_twice() -> None:
    old = [record(xact_id=ANOTHER_SERVERS + number) for number in (2, 1)]
    assert is_ahead()
    before = now().position

    begun = begin_epoch()
    new = record()

    assert begun.moved == 2
    assert not is_ahead()
    wait_until(lambda: ids(read(before)) == [new])
    assert ids(read(Position(0, 0))) == [*old, new]


def test_a_position_of_the_former_epoch_is_not_comparable_and_one_of_the_new_is() -> None:
    record()
    wait_until(lambda: read(Position(0, 0)))
    [before] = [event.position for event in read(Position(0, 0))]
    assert now().is_comparable(before)

    begun = begin_epoch()

    assert not now().is_comparable(before)
    [after] = [event.position for event in read(Position(0, 0))]
    assert after.epoch == begun.epoch
    assert now().is_comparable(Position.parse(str(after)))


def test_a_position_ahead_of_this_server_is_not_comparable() -> None:
    assert not now().is_comparable(Position(ANOTHER_SERVERS, 1))
    assert now().is_comparable(Position(0, 0))


def test_each_epoch_has_its_own_name() -> None:
    assert begin_epoch().epoch != begin_epoch().epoch


def test_claims_and_relays_of_the_former_server_are_gone() -> None:
    relay = Relay.objects.create(id=uuid4(), host="former", pid=1, wakeup="listen")
    event = publish("test.noted")
    Event.objects.filter(pk=event.pk).update(
        status="claimed", attempts=1, claim_token=uuid4(), relay=relay.id
    )

    begun = begin_epoch()

    assert begun.reclaimed == 1
    assert status_of(event) == ["pending"]
    assert not Relay.objects.exists()


def test_the_doctor_finds_positions_of_another_server_and_repairs_them_while_no_cluster_runs() -> None:
    record(xact_id=ANOTHER_SERVERS)
    Relay.objects.create(id=uuid4(), host="here", pid=1, wakeup="listen")
    finding = backlog.stream()
    assert not finding.ok
    assert finding.fix is None

    Relay.objects.all().delete()
    repair = backlog.stream().fix
    assert repair
    repair()

    assert backlog.stream().ok


def test_the_doctor_names_a_table_without_its_primary_key() -> None:
    assert schema.primary_keys().ok
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox_outage DROP CONSTRAINT outbox_outage_pkey")
        try:
            finding = schema.primary_keys()
        finally:
            cursor.execute("ALTER TABLE outbox_outage ADD PRIMARY KEY (id)")
    assert finding.actual == "without: outbox_outage"
