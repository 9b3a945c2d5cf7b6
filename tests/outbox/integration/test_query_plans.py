"""Query plans: a claim reads the indexes of waiting events, however many are delivered."""

import json
import math
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from outbox.database.connection import own_connection
from outbox.delivery.outcomes import DELIVERED, delivered
from outbox.exceptions import Unavailable
from outbox.models import Event
from outbox.queue import circuits
from outbox.queue.claim import CLAIM, claim
from outbox.queue.ordering import PARK, park
from outbox.relay.listener import Listener
from tests.support.published import NOTED, TOGETHER, ids

pytestmark = [pytest.mark.django_db(transaction=True)]

TYPES = ["test.baked", NOTED, TOGETHER]


def insert(count: int, status: str, type: str = NOTED, aggregate: str = "number") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status, attempts, delivered_at)
            SELECT 'thing', {aggregate}, %(type)s, '{{}}', %(status)s, %(attempts)s, %(delivered_at)s
            FROM generate_series(1, %(count)s) AS number
            """,
            {
                "type": type,
                "status": status,
                "count": count,
                "attempts": int(status == "delivered"),
                "delivered_at": "2026-01-01T00:00Z" if status == "delivered" else None,
            },
        )


def prepared_plan(session: psycopg.Connection[Any], types: list[str]) -> list[dict[str, Any]]:
    """Every node of the plan of the session's prepared statement."""
    names = """SELECT name, cardinality(parameter_types) FROM pg_prepared_statements
        WHERE statement LIKE '%UPDATE outbox_event%'"""
    [(name, count)] = session.execute(names).fetchall()
    numbers = {10: [100, 8, 8], 8: [100]}[count]
    arguments = [types, True, [], float("-inf"), *numbers, uuid4(), None, 300]
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({', '.join(['%s'] * len(arguments))})"
    with session.transaction(force_rollback=True):
        answer = psycopg.ClientCursor(session).execute(explain, arguments).fetchone()
    assert answer
    return list(_nodes(answer[0][0]["Plan"]))


def plan(types: list[str], since: float = float("-inf")) -> list[dict[str, Any]]:
    """Every node of the executed plan of a claim."""
    numbers = {"batch": 100, "retries": 8, "dangerous": 8, "lease": 300, "since": since}
    parameters = {"types": types, "probing": [], **numbers}
    token = "00000000-0000-0000-0000-000000000000"
    return explained(CLAIM, {**parameters, "token": token, "relay": None, "own_transaction": True})


def explained(statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every node of the executed plan of a statement, which is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        (answer,) = cursor.fetchone()
        cursor.execute("ROLLBACK")
    return list(_nodes(json.loads(answer)[0]["Plan"] if isinstance(answer, str) else answer[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def assert_reads_indexes_only(found: list[dict[str, Any]]) -> None:
    nodes = [node for node in found if node.get("Relation Name") == "outbox_event"]
    scans = [node for node in nodes if "Scan" in node["Node Type"]]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert "outbox_event_fresh" in {node["Index Name"] for node in scans}
    # Not one row was read in vain: 100 that are claimed, and their neighbours' absence.
    assert read_in_vain(scans) == 0
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 100


def read_in_vain(nodes: list[dict[str, Any]]) -> float:
    """Rows that were read and not used."""
    return sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in nodes)


def analyze() -> None:
    run_sql("ANALYZE outbox_event")


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def _analyzed_by_nobody_else() -> Iterator[None]:
    """Statistics of an empty table mislead the planner most."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) outbox_event")
        cursor.execute("ALTER TABLE outbox_event SET (autovacuum_enabled = false)")
        yield
        cursor.execute("ALTER TABLE outbox_event RESET (autovacuum_enabled)")


@pytest.fixture
def another_session() -> Iterator[psycopg.Connection]:
    with psycopg.connect(**own_connection(), autocommit=True) as session:
        yield session


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
def test_a_claim_reads_few_rows_among_a_million_delivered_and_a_hundred_thousand_pending(
    subtests: pytest.Subtests,
) -> None:
    """With statistics of the empty table, of the present one, or of the table before the pending rows came."""

    def claims_read_indexes_only() -> None:
        assert_reads_indexes_only(plan(TYPES))
        assert_reads_indexes_only(plan([NOTED]))
        assert_reads_indexes_only(plan(TYPES, since=0))

    insert(1_000_000, "delivered")
    insert(100_000, "pending")
    with subtests.test("never analyzed"):
        claims_read_indexes_only()
    analyze()
    with subtests.test("analyzed"):
        claims_read_indexes_only()

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox_event WHERE status = 'pending'")
        cursor.execute("VACUUM (ANALYZE) outbox_event")
    insert(100_000, "pending")
    with subtests.test("analyzed before the burst"):
        claims_read_indexes_only()


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_plan_made_while_no_event_waited_suits_many_events(analyzed: bool) -> None:
    """The relay's statement is prepared once."""
    insert(20_000, "delivered")
    if analyzed:
        analyze()
    listener = Listener()
    try:
        listener.wait(0)
        assert listener.session
        assert claim(TYPES, batch=100, retries=8, session=listener.session).events == []
        insert(10_000, "pending")

        assert_reads_indexes_only(prepared_plan(listener.session, TYPES))
    finally:
        listener.close()


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
@pytest.mark.parametrize("retries", [8, 0])
@pytest.mark.parametrize("state", ["new", "empty and vacuumed", "emptied", "small"])
def test_a_plan_made_for_a_small_table_suits_many_events(state: str, retries: int) -> None:
    """All indexes seem to cost the same then."""
    if state == "new":
        run_sql("TRUNCATE outbox_event CASCADE")
    if state == "emptied":
        insert(2_000, "delivered")
        run_sql("VACUUM (ANALYZE) outbox_event")
        run_sql("DELETE FROM outbox_event")
        run_sql("VACUUM (ANALYZE) outbox_event")
    if state == "small":
        insert(20, "pending", type="test.baked", aggregate="'baked-' || number")
        run_sql("VACUUM (ANALYZE) outbox_event")
    listener = Listener()
    try:
        listener.wait(0)
        assert listener.session
        assert claim([NOTED], batch=100, retries=retries, session=listener.session).events == []
        insert(1_000, "pending")

        found = prepared_plan(listener.session, [NOTED])
        assert_reads_indexes_only(found)
        assert indexes(found, "earlier") == {"outbox_event_open"}
        assert indexes(found, "other") == {"outbox_event_in_flight"}
    finally:
        listener.close()


def indexes(nodes: list[dict[str, Any]], alias: str) -> set[str]:
    """The indexes in which a table is read that has this alias, or the alias with a number."""
    return {node["Index Name"] for node in nodes if node.get("Alias", "").partition("_")[0] == alias}


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
@pytest.mark.parametrize("is_paused", [False, True], ids=["circuit", "pause"])
def test_a_claim_reads_no_event_behind_an_open_circuit_or_of_a_paused_type(is_paused: bool) -> None:
    insert(100_000, "pending", type="test.baked")
    insert(1_000, "pending", aggregate="'another-' || number")
    if is_paused:
        circuits.hold_type("test.baked", pause=None, reason="by olga")
    else:
        circuits.open_circuit(Unavailable("oven", "cold"))

    assert_reads_indexes_only(plan(TYPES))
    claimed = claim(TYPES, batch=100, retries=8)
    assert {event.type for event in claimed.events} == {NOTED}
    assert len(claimed.events) == 100


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
def test_a_claim_reads_few_of_a_hundred_thousand_events_of_one_aggregate() -> None:
    insert(100_000, "pending", aggregate="'one'")
    insert(400, "pending", aggregate="'another-' || number")

    park(TYPES)

    assert Event.objects.filter(status="pending", parked_until=None).count() < 1_200
    claimed = claim(TYPES, batch=100, retries=8)
    assert len(claimed.events) == 100
    # Jammed, it reads the whole hundred thousand.
    assert read_in_vain(plan(TYPES)) < 1_200
    assert delivered(claimed.token, ids(claimed)) == set(ids(claimed))


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
def test_a_claim_does_not_read_what_waits_behind_the_first_event_of_an_aggregate() -> None:
    insert(20_000, "pending", aggregate="'one'")
    run_sql("UPDATE outbox_event SET parked_until = 'infinity' WHERE id > (SELECT min(id) FROM outbox_event)")
    run_sql("VACUUM (ANALYZE) outbox_event")

    # The 20,000 entries fill a hundred pages.
    assert pages_read(plan(TYPES), "outbox_event_open") < 20


@pytest.mark.usefixtures("_analyzed_by_nobody_else")
def test_parking_reads_the_front_of_the_claims_index() -> None:
    insert(100_000, "delivered")
    insert(10_000, "pending")

    parameters = {"types": TYPES, "limit": 1_000, "worthwhile": 800, "seconds": 300}
    nodes = [node for node in explained(PARK, parameters) if node.get("Relation Name") == "outbox_event"]

    assert "outbox_event_fresh" in {node.get("Index Name") for node in nodes}
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
    assert max(node["Actual Rows"] for node in nodes) <= 1_000


def test_after_a_full_claim_the_next_one_skips_what_no_vacuum_could_remove(
    another_session: psycopg.Connection,
) -> None:
    another_session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM outbox_event")
    for number in range(40):
        insert(250, "pending", aggregate=f"'{number}-' || number")
    for _ in range(40):
        claimed = claim(TYPES, batch=250, retries=8)
        delivered(claimed.token, ids(claimed))

    from_the_start, from_there = (pages_read(plan(TYPES, since)) for since in (-math.inf, claimed.reached))

    assert len(claimed.rows) == 250
    assert from_there < from_the_start / 4


def pages_read(nodes: list[dict[str, Any]], index: str = "outbox_event_fresh") -> int:
    """Pages of the index, and of the events that it names."""
    return sum(
        node["Shared Hit Blocks"] + node["Shared Read Blocks"]
        for node in nodes
        if node.get("Index Name") == index
    )


def test_settling_looks_its_events_up_by_id() -> None:
    insert(10_000, "pending")
    claimed = claim(TYPES, batch=100, retries=8)

    nodes = explained(DELIVERED, {"ids": ids(claimed), "token": claimed.token, "own_transaction": True})

    # "e" are the events that may wait behind them: one look each.
    assert "outbox_event_open" not in {node.get("Index Name") for node in nodes if node.get("Alias") != "e"}
