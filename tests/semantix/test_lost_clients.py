"""PostgreSQL ends the sessions of clients that vanished amid a transaction."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from semantix.database import lost_clients
from tests.support.clusters import url_of_the_tests_database

pytestmark = pytest.mark.django_db(transaction=True)

LOCK = "LOCK TABLE memory_logs IN EXCLUSIVE MODE"


@pytest.fixture
def _limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lost_clients, "IDLE_IN_TRANSACTION_SECONDS", 1)
    lost_clients.end_lost_clients()
    connection.close()
    yield
    connection_created.disconnect(dispatch_uid="semantix.lost_clients")
    connection.close()


@pytest.mark.usefixtures("_limited")
def test_a_client_that_does_nothing_more_in_its_transaction_loses_its_locks() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(LOCK)

        with psycopg.connect(url_of_the_tests_database()) as other:
            other.execute("SET statement_timeout = '60s'")
            other.execute(LOCK)
            other.rollback()
