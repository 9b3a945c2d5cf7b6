"""The stream of recorded events: a reader sees each event once and misses none."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from outbox.queue.stream import (
    HORIZON,
    LARGEST_ID,
    READ,
    Position,
    Recorded,
    horizon,
    read_parameters,
    recorded,
)
from outbox.relay import listener
from tests.support.published import NOTED, publish
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RECORDED = "test.recorded"


START = Position(0, 0)


def newest() -> Position:
    with connection.cursor() as cursor:
        cursor.execute(HORIZON)
        return horizon(cursor.fetchone()).position


def read(after: Position = START, limit: int = 10) -> list[Recorded]:
    with connection.cursor() as cursor:
        cursor.execute(READ, read_parameters([RECORDED], after, limit))
        return [recorded(row) for row in cursor.fetchall()]


def wait_until_readable(count: int) -> None:
    """Wait until no other transaction on the shared server holds events back."""
    wait_until(lambda: len(read()) == count)


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """A second connection with its own transaction."""
    with psycopg.connect(**listener.parameters()) as session:
        yield session
        session.rollback()


def record(session: psycopg.Connection, id: str) -> None:
    session.execute(
        "INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status) "
        "VALUES ('thing', %s, %s, '{}', 'delivered')",
        [id, RECORDED],
    )


def test_a_reader_continues_from_its_position() -> None:
    events = [publish(RECORDED, number, n=number) for number in (1, 2, 3)]
    publish(NOTED)
    wait_until_readable(3)

    first = read(limit=2)
    rest = read(first[-1].position)

    assert [event.position.id for event in first + rest] == [event.id for event in events]
    assert [(event.type, event.aggregateid) for event in rest] == [(RECORDED, "3")]
    assert rest[0].payload == '{"n": 3}'
    assert rest[0].created_at.tzinfo
    assert read(rest[0].position) == []


def test_an_event_that_commits_late_is_not_missed(other: psycopg.Connection) -> None:
    record(other, "late")
    publish(RECORDED, "early")
    assert read() == []

    other.commit()
    wait_until_readable(2)
    assert [event.aggregateid for event in read()] == ["late", "early"]


def test_a_new_reader_sees_what_commits_from_now_on(other: psycopg.Connection) -> None:
    publish(RECORDED, "before")
    wait_until_readable(1)
    record(other, "open")
    now = newest()

    other.commit()
    wait_until_readable(2)
    assert [event.aggregateid for event in read(now)] == ["open"]


def test_a_position_survives_its_text_form() -> None:
    assert Position.parse(str(Position(7, 42))) == Position(7, 42)
    assert Position.parse(f"1-{'9' * 30}") == Position(1, LARGEST_ID)
    assert Position(9, 1) > Position(8, LARGEST_ID)


@pytest.mark.parametrize("text", ["", "7", "7-", "-7", "seven-1", "1-1-1", "١-١", "7-٢"])
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position in the stream"):
        Position.parse(text)
