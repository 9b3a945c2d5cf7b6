"""The claim reads indexes of what waits, however much was delivered."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from outbox import circuits
from outbox.claiming import CLAIM, claim
from outbox.exceptions import Unavailable
from outbox.models import Event
from outbox.ordering import set_aside
from outbox.settling import delivered
from tests.outbox.published import NOTED, TOGETHER, ids

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


def plan(types: list[str]) -> list[dict[str, Any]]:
    """Every node of the claim's plan, as it was run."""
    parameters = {"types": types, "batch": 100, "retries": 8, "probing": "", "lease": 300}
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {CLAIM}",
            {**parameters, "token": "00000000-0000-0000-0000-000000000000"},
        )
        (answer,) = cursor.fetchone()
        cursor.execute("ROLLBACK")
    return list(_nodes(json.loads(answer)[0]["Plan"] if isinstance(answer, str) else answer[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def assert_reads_indexes_only(types: list[str]) -> None:
    nodes = [node for node in plan(types) if node.get("Relation Name") == "outbox_event"]
    scans = [node for node in nodes if "Scan" in node["Node Type"]]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
    assert "outbox_event_fresh" in {node["Index Name"] for node in scans}
    # Not one row was read in vain: 100 that are claimed, and their neighbours' absence.
    assert sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in scans) == 0
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 100


def seconds(what: Any) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_million_delivered_and_a_hundred_thousand_pending_rows_are_no_matter(analyzed: bool) -> None:
    with connection.cursor() as cursor:
        # Statistics of an empty table are the worst that the planner can have.
        cursor.execute("VACUUM (ANALYZE) outbox_event")
        cursor.execute("ALTER TABLE outbox_event SET (autovacuum_enabled = false)")
        try:
            insert(1_000_000, "delivered")
            insert(100_000, "pending")
            if analyzed:
                cursor.execute("ANALYZE outbox_event")
            assert_reads_indexes_only(TYPES)
            assert_reads_indexes_only([NOTED])
        finally:
            cursor.execute("ALTER TABLE outbox_event RESET (autovacuum_enabled)")


def test_a_hundred_thousand_events_behind_an_open_circuit_are_not_even_looked_at() -> None:
    insert(100_000, "pending", type="test.baked")
    insert(1_000, "pending", aggregate="'another-' || number")
    circuits.open_circuit(Unavailable("oven", "cold"))

    assert_reads_indexes_only(TYPES)
    claimed = claim(TYPES, batch=100, retries=8)
    assert {event.type for event in claimed.events} == {NOTED}
    assert len(claimed.events) == 100


def test_a_hundred_thousand_events_of_one_aggregate_cost_each_claim_nothing() -> None:
    insert(100_000, "pending", aggregate="'one'")
    insert(400, "pending", aggregate="'another-' || number")
    jammed = seconds(lambda: claim(TYPES, batch=100, retries=8))

    set_aside(TYPES)

    assert Event.objects.filter(status="pending", set_aside_until=None).count() < 1_200
    claimed = claim(TYPES, batch=100, retries=8)
    assert len(claimed.events) == 100
    in_a_claim = seconds(lambda: claim(TYPES, batch=100, retries=8))
    in_settling = seconds(lambda: delivered(claimed.token, ids(claimed)))
    # Some milliseconds each; jammed, a claim looks at every one of them.
    assert in_a_claim < jammed / 3
    assert in_settling < jammed / 3
