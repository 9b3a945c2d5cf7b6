"""The limits of one memory: MEMORY_MAX_VALUES and MEMORY_MAX_BYTES, and what a large memory costs its neighbours."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from tests.support.tenants import new_tenant
from tests.support.two_tenants import Cast
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

# Values count at every level: with n numbers, this has n + 2.
TOO_MANY = {"a": {"b": [0] * 100}}
# In UTF-8, as JSON: {"a":"ää…"}.
TOO_LONG = {"a": "ä" * 500}


@pytest.fixture(autouse=True)
def _small_limits(settings: Any) -> None:
    settings.MEMORY_MAX_VALUES = 101
    settings.MEMORY_MAX_BYTES = 1_007


def errors(answer: Any) -> dict[str, str]:
    assert answer.status_code == 400, answer.content
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("raw_data", "limit"),
    [(TOO_MANY, "101 values (MEMORY_MAX_VALUES)"), (TOO_LONG, "1,007 bytes (MEMORY_MAX_BYTES)")],
)
def test_a_memory_above_a_limit_is_refused_by_every_write_with_the_name_of_the_limit(
    cast: Cast, raw_data: dict[str, Any], limit: str
) -> None:
    stored = cast.alice.remember()
    large = cast.alice.memory(raw_data=raw_data)

    created = cast.alice.send("POST", "/memory-logs", large)
    batch = cast.alice.send("POST", "/memory-logs/batch", [cast.alice.memory(), large])
    replaced = cast.alice.send("PUT", f"/memory-logs/{stored['id']}", large)
    changed = cast.alice.send("PATCH", f"/memory-logs/{stored['id']}", {"raw_data": raw_data})

    assert limit in errors(created)["/raw_data"]
    assert limit in errors(batch)["/1/raw_data"]
    assert limit in errors(replaced)["/raw_data"]
    assert limit in errors(changed)["/raw_data"]
    assert [row.raw_data for row in MemoryLog.objects.all()] == [{}]


@pytest.mark.parametrize("raw_data", [{"a": [0] * 100}, {"a": "ä" * 499 + "b"}])
def test_a_memory_at_the_limit_is_stored(cast: Cast, raw_data: dict[str, Any]) -> None:
    cast.alice.remember(raw_data=raw_data)


def test_a_large_memory_and_a_neighbours_share_no_statement() -> None:
    """Both wait for a lock on the table. A create that shared the statement of the large one would not have begun."""
    large, small = ({"a": "x" * size} for size in (100_000, 10))
    with ThreadPoolExecutor(2) as threads, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE memory_logs IN SHARE MODE")
        first = threads.submit(store, large)
        wait_until(lambda: waiting_inserts() == 1)
        second = threads.submit(store, small)
        wait_until(lambda: waiting_inserts() == 2, seconds=30)

        transaction.set_rollback(True)

    assert_stored(first, second)


def store(raw_data: dict[str, Any]) -> MemoryLog:
    try:
        return create_memory(
            NewMemory(**new_tenant()._asdict(), task="Fix it", agent="coder", raw_data=raw_data)
        )
    finally:
        connections.close_all()


def waiting_inserts() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 'memory_logs'::regclass AND NOT granted"
        )
        return int(cursor.fetchone()[0])


def assert_stored(*outcomes: Future[MemoryLog]) -> None:
    ids = {outcome.result(60).id for outcome in outcomes}
    assert set(MemoryLog.objects.values_list("id", flat=True)) == ids
