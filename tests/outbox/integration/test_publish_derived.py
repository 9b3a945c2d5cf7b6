"""Derived data and its events in one statement, on real Postgres."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import outbox
from outbox import NewEvent, UnknownEventType
from outbox.models import Event

pytestmark = pytest.mark.django_db(transaction=True)

TOUCH = "UPDATE things SET touched = touched + 1 WHERE id = ANY(%(ids)s::bigint[]) RETURNING id"
NOTED = "thing.noted"


@pytest.fixture(autouse=True)
def _things() -> Iterator[None]:
    outbox.declare(NOTED)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE things (id bigint PRIMARY KEY, touched int NOT NULL DEFAULT 0)")
        cursor.execute("INSERT INTO things (id) VALUES (1), (2)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE things")


def noted(thing: int) -> NewEvent:
    return NewEvent(type=NOTED, aggregatetype="thing", aggregateid=thing, payload={"thing": thing})


def touched() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT touched FROM things ORDER BY id")
        return [count for (count,) in cursor.fetchall()]


def published() -> list[str]:
    return list(Event.objects.order_by("id").values_list("aggregateid", flat=True))


def test_the_write_and_all_events_are_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        written = outbox.publish_derived(TOUCH, {"ids": [1, 3]}, map(noted, [3, 1]))

    assert len(queries) == 1
    assert written == [(1,)]
    assert touched() == [1, 0]
    assert published() == ["3", "1"]


def test_of_rows_publishes_the_events_of_written_rows_only() -> None:
    outbox.publish_derived(TOUCH, {"ids": [1, 3]}, map(noted, [3, 1]), of_rows=True)

    assert published() == ["1"]


@pytest.mark.parametrize("ids", [[], [2]])
def test_either_may_be_missing(ids: list[int]) -> None:
    outbox.publish_derived(TOUCH, {"ids": ids}, [])
    assert touched() == [0, len(ids)]
    outbox.publish_derived(None, {}, map(noted, ids))
    assert published() == [str(id) for id in ids]


def test_an_unknown_type_writes_nothing() -> None:
    with pytest.raises(UnknownEventType):
        outbox.publish_derived(TOUCH, {"ids": [1]}, [replace(noted(1), type="thing.unknown")])

    assert touched() == [0, 0]
