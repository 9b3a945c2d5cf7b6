"""Statements that are prepared in a session, on real Postgres."""

from typing import Any

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext

from outbox.database import prepared
from outbox.models import Event

pytestmark = pytest.mark.django_db

DOUBLED = "SELECT %(number)s::int * 2"


def plans() -> list[tuple[int, int]]:
    """How often the prepared statement ran with a plan for its values, and with the plan for all values."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement LIKE %s",
            ["SELECT $1::int * 2"],
        )
        return list(cursor.fetchall())


def test_a_statement_is_parsed_once_and_mostly_planned_once() -> None:
    assert [prepared.rows(DOUBLED, {"number": number}) for number in range(8)] == [
        [(2 * number,)] for number in range(8)
    ]

    assert plans() == [(5, 3)]


def test_nothing_is_prepared_where_a_pooler_gives_each_transaction_another_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection.ensure_connection()
    # What Django sets for DATABASE_TRANSACTION_POOLER.
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)

    assert prepared.rows(DOUBLED, {"number": 4}) == [(8,)]

    assert plans() == []


def test_it_logs_statements_and_translates_errors_as_any_cursor_does() -> None:
    with CaptureQueriesContext(connection) as queries:
        prepared.rows(DOUBLED, {"number": 4})

    assert [query["sql"] for query in queries] == ["SELECT $1::int * 2"]
    with pytest.raises(DataError):
        prepared.rows(DOUBLED, {"number": "four"})


def test_a_rolled_back_transaction_takes_nothing_with_it(transactional_db: Any) -> None:
    with pytest.raises(DataError):
        prepared.rows(DOUBLED, {"number": "four"})

    assert prepared.rows(DOUBLED, {"number": 5}) == [(10,)]


def test_deferred_fields_of_instances_are_read_when_they_are_used(django_assert_num_queries: Any) -> None:
    Event.objects.create(aggregatetype="thing", aggregateid="1", type="thing.made", payload={})
    deferred = frozenset({"payload"})

    [event] = prepared.instances(Event, "SELECT {columns} FROM outbox_event", {}, deferred=deferred)

    with django_assert_num_queries(0):
        assert event.aggregateid == "1"
    with django_assert_num_queries(1):
        assert event.payload == {}
