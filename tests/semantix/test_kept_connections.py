"""The health check of database connections that are kept between requests and tasks."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection

from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept() -> Iterator[Any]:
    kept = connection.copy()
    kept.ensure_connection()
    yield kept
    kept.close()


def last_statement(kept: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query FROM pg_stat_activity WHERE pid = %s", [kept.connection.info.backend_pid]
        )
        return str(cursor.fetchone()[0])


def execute(on: Any, statement: str, *parameters: Any) -> None:
    with on.cursor() as cursor:
        cursor.execute(statement, parameters)


def test_an_idle_connection_is_used_without_a_query(kept: Any) -> None:
    execute(kept, "SELECT 'the last'")

    assert kept.is_usable()
    assert last_statement(kept) == "SELECT 'the last'"


def test_a_connection_that_the_server_closed_is_noticed(kept: Any) -> None:
    execute(connection, "SELECT pg_terminate_backend(%s)", kept.connection.info.backend_pid)

    wait_until(lambda: not kept.is_usable())


def test_a_notification_does_not_make_a_connection_unusable(kept: Any) -> None:
    execute(kept, "LISTEN kept")
    execute(connection, "NOTIFY kept")

    # However late it arrives.
    wait_until(lambda: kept.is_usable() and "SELECT 1" in last_statement(kept))


def test_a_connection_in_a_failed_transaction_is_not_usable(kept: Any) -> None:
    kept.set_autocommit(False)
    with pytest.raises(DatabaseError):
        execute(kept, "SELECT 1/0")

    assert not kept.is_usable()


def test_after_an_error_the_server_is_asked(kept: Any) -> None:
    with pytest.raises(DatabaseError):
        execute(kept, "SELECT 1/0")
    kept.errors_occurred = True

    assert kept.is_usable()
    assert last_statement(kept) == "SELECT 1"


def test_a_closed_connection_is_not_usable(kept: Any) -> None:
    kept.connection.close()

    assert not kept.is_usable()
