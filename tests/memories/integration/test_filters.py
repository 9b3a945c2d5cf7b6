"""Filters mean the same in the list, in every mode of search, in a bulk deletion, and in plain Python."""

import json
import re
from datetime import date
from random import Random
from typing import Any

import pytest
from django.db import connection, transaction

from memories.filters import Filters, matching, parse
from memories.models import MemoryLog
from memories.records import bulk_deletion
from memories.records.services import NewMemory, create_memories
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.filter_reference import meets
from tests.support.random_filters import random_filter, random_raw
from tests.support.tenants import new_tenant
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

MEMORIES, FILTERS = 60, 150


def remember(tenant: Tenant, random: Random, count: int = MEMORIES) -> list[MemoryLog]:
    create_memories(
        NewMemory(
            **tenant._asdict(),
            task="Fix the login",
            agent=random.choice(["ann", "bob", "é"]),
            date=date(2024, 5, random.choice([8, 9])),
            raw_data=random_raw(random),
        )
        for _ in range(count)
    )
    drain()
    return list(MemoryLog.objects.filter(**tenant._asdict()).defer("embedding"))


def test_list_search_and_deletion_choose_the_memories_that_plain_python_chooses() -> None:
    random, tenant = Random(7), new_tenant()
    rows = remember(tenant, random)
    shares = set()

    for _ in range(FILTERS):
        wanted = random_filter(random)
        filters = Filters(filter=parse(wanted))
        expected = {row.id for row in rows if meets(row, wanted)}
        shares.add(len(expected))

        listed = matching(MemoryLog.objects.filter(**tenant._asdict()), filters)
        assert set(listed.values_list("id", flat=True)) == expected, wanted
        assert found(tenant, random.choice(list(Mode)), filters) == expected, wanted
        assert (
            Filters.of_json(json.loads(json.dumps(filters.to_json()))).condition.parts[0] == filters.condition
        )

    assert len(shares) > 20, "the filters match more and fewer memories"


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_of_search_finds_what_meets_the_filter(mode: Mode) -> None:
    random, tenant = Random(mode), new_tenant()
    rows = remember(tenant, random)

    for _ in range(FILTERS // 5):
        wanted = random_filter(random)
        expected = {row.id for row in rows if meets(row, wanted)}
        assert found(tenant, mode, Filters(filter=parse(wanted))) == expected, wanted


def found(tenant: Tenant, mode: Mode, filters: Filters) -> set[int]:
    hits = search(Query(text="login", tenant=tenant, mode=mode, limit=100, filters=filters))
    return {hit.memory_log_id for hit in hits}


def test_a_bulk_deletion_deletes_what_meets_the_filter() -> None:
    random, tenant = Random(3), new_tenant()
    rows = remember(tenant, random, 20)

    for _ in range(20):
        wanted = random_filter(random)
        staying = {row.id for row in rows if not meets(row, wanted)}
        with transaction.atomic():
            filters = Filters(filter=parse(wanted))
            deletion = bulk_deletion.request(tenant._asdict(), filters, confirm=len(rows) - len(staying))
            bulk_deletion.delete_page(deletion.pk)
            left = set(MemoryLog.objects.filter(**tenant._asdict()).values_list("id", flat=True))
            transaction.set_rollback(True)
        assert left == staying, wanted


def listed(actor: Actor, wanted: Any, **more: Any) -> list[int]:
    answer = actor.get("/memory-logs", filter=json.dumps(wanted), **more)
    assert answer.status_code == 200, answer.content
    return [memory["id"] for memory in answer.json()["results"]]


def test_a_filter_reaches_the_list_the_search_and_the_deletion_over_http(cast: Cast) -> None:
    done = cast.alice.remember(agent="ann", raw_data={"solution": {"status": "done", "days": 3}})["id"]
    cast.alice.remember(agent="ann", raw_data={"solution": {"status": "open"}})
    cast.bob.remember(agent="ann", raw_data={"solution": {"status": "done"}})
    wanted = {"agent": "ann", "raw_data.solution.status": {"in": ["done", "merged"]}}

    assert listed(cast.alice, wanted) == [done]
    assert listed(cast.alice, wanted, agent="bob") == []
    assert listed(cast.alice, {"raw_data.solution.days": {"gte": 3, "lt": 4}}) == [done]
    searched = cast.alice.send("POST", "/memory-logs/search", {"query": "login", "filter": wanted})
    assert [hit["memory_log_id"] for hit in searched.json()] == [done]
    deleted = cast.alice.send("DELETE", f"/memory-logs?confirm=1&filter={json.dumps(wanted)}")
    assert (deleted.status_code, deleted.json()["total"]) == (202, 1)
    drain()
    assert not MemoryLog.objects.filter(id=done).exists()
    assert MemoryLog.objects.count() == 2


def test_the_list_filters_memories_as_they_were(cast: Cast) -> None:
    row = cast.alice.remember(raw_data={"status": "open"})
    moment = row["updated_at"]
    cast.alice.send("PATCH", f"/memory-logs/{row['id']}", {"raw_data": {"status": "done"}})

    assert listed(cast.alice, {"raw_data.status": "open"}) == []
    assert listed(cast.alice, {"raw_data.status": "open"}, as_of=moment) == [row["id"]]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"agnt": "ann"}, "/agnt"),
        ({"raw_data": "ann"}, "/raw_data"),
        ({"raw_data.": "ann"}, "/raw_data."),
        ({"raw_data.a..b": 1}, "/raw_data.a..b"),
        ({"agent": 5}, "/agent"),
        ({"agent": {"eq": "ann", "like": "b"}}, "/agent/like"),
        ({"agent": {}}, "/agent"),
        ({"agent": {"in": ["ann", 5]}}, "/agent/in/1"),
        ({"agent": {"in": []}}, "/agent/in"),
        ({"agent": {"exists": True}}, "/agent/exists"),
        ({"date": {"gt": "2026-02-30"}}, "/date/gt"),
        ({"date": {"contains": "2026"}}, "/date/contains"),
        ({"created_at": {"gte": "yesterday"}}, "/created_at/gte"),
        ({"updated_at": 5}, "/updated_at"),
        ({"tags": {"gt": "a"}}, "/tags/gt"),
        ({"tags": {"contains": ["a", 1]}}, "/tags/contains/1"),
        ({"raw_data.a": {"eq": {"b": 1}}}, "/raw_data.a/eq"),
        ({"raw_data.a": {"gt": True}}, "/raw_data.a/gt"),
        ({"raw_data.a": {"exists": 1}}, "/raw_data.a/exists"),
        ({"raw_data.a/b": {"gt": None}}, "/raw_data.a~1b/gt"),
        ({"and": [{"agent": "ann"}, {"or": [{"agent": 1}]}]}, "/and/1/or/0/agent"),
        ({"not": []}, "/not"),
        ({"and": {"agent": "ann"}}, "/and"),
        ({}, ""),
        ([{"agent": "ann"}], ""),
        ({"agent": {"in": [str(number) for number in range(33)]}}, ""),
        ({"raw_data.a": "x" * 10_001}, "/raw_data.a"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_filter_is_refused_where_it_is_wrong(cast: Cast, wanted: Any, pointer: str) -> None:
    searched = cast.alice.send("POST", "/memory-logs/search", {"query": "login", "filter": wanted})

    assert searched.status_code == 400
    assert [error["pointer"] for error in searched.json()["errors"]] == [f"/filter{pointer}"]
    if isinstance(wanted, dict):
        assert cast.alice.get("/memory-logs", filter=json.dumps(wanted)).json() == searched.json()


def test_every_error_of_a_filter_is_named(cast: Cast) -> None:
    wanted = {"agnt": 1, "or": [{"task": 1}, {"task": "x"}, {"date": "x"}]}

    answer = cast.alice.send("POST", "/memory-logs/search", {"query": "login", "filter": wanted}).json()

    assert [error["pointer"] for error in answer["errors"]] == [
        "/filter/agnt",
        "/filter/or/0/task",
        "/filter/or/2/date",
    ]


def test_a_filter_is_nested_eight_levels_deep_at_most(cast: Cast) -> None:
    wanted: dict[str, Any] = {"agent": "ann"}
    for _ in range(7):
        wanted = {"not": wanted}

    assert listed(cast.alice, wanted) == []
    assert cast.alice.get("/memory-logs", filter=json.dumps({"not": wanted})).status_code == 400


@pytest.mark.parametrize(
    "text", ["", "{", "5", '"x"', '{"raw_data.a": "\\u0000"}', '{"raw_data.\\u0000": 1}']
)
def test_a_parameter_that_is_no_filter_is_refused(cast: Cast, text: str) -> None:
    answer = cast.alice.get("/memory-logs", filter=text)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"].startswith("/filter")


def test_short_forms_and_filter_count_together(cast: Cast) -> None:
    wanted = {"agent": {"in": [str(number) for number in range(30)]}}

    assert cast.alice.get("/memory-logs", filter=json.dumps(wanted), task="x", tags="a").status_code == 200
    assert cast.alice.get("/memory-logs", filter=json.dumps(wanted), task="x", tags="a,b").status_code == 400


# The indexes whose first columns are the tenant.
OF_TENANT = {"memory_logs_tenant", "memory_logs_idempotency_key", "memory_logs_external_id"}
# Without triggers: a plan needs rows and statistics, no terms and versions.
CROWD = """
SET LOCAL session_replication_role = replica;
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash,
    embedding_model, embedded_hash)
SELECT CASE WHEN n <= 20000 THEN %s ELSE 'crowd-' || n % 20 END, 'project', 'task ' || n, 'agent ' || n % 10,
    date '2024-01-01' + n % 1000, jsonb_build_object('n', n, 'solution', jsonb_build_object('days', n % 40),
    'tags', jsonb_build_array('common', 'tag ' || n)), 1, '', '', ''
FROM generate_series(1, 80000) AS n
"""


def test_a_filter_on_a_large_tenant_stays_in_the_index_of_the_tenant() -> None:
    tenant = new_tenant()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CROWD.replace("%s", f"'{tenant.user_id}'"))
        cursor.execute("ANALYZE memory_logs")
        for wanted in (
            {"raw_data.solution.status": "rare"},
            {"raw_data.solution.days": {"gt": 38}},
            {"or": [{"agent": "nobody"}, {"raw_data.n": 5}]},
            {"not": {"raw_data.solution": {"exists": True}}},
            {"task": {"contains": "nothing"}},
            {"created_at": {"lt": "2020-01-01"}},
            {"tags": {"in": ["common", "other"]}},
            {"raw_data.tags": {"contains": "tag 19999"}},
        ):
            rows = MemoryLog.objects.unexpired().filter(**tenant._asdict())
            matched = matching(rows, Filters(filter=parse(wanted)))
            for query in (matched.order_by("-id")[:50], matched.order_by("id")[:500]):
                plan = query.values("id").explain(format="json")
                assert indexes(plan) <= OF_TENANT, (wanted, plan)
        transaction.set_rollback(True)


def indexes(plan: str) -> set[str]:
    """The indexes that a plan reads; "none" where it reads the whole table."""
    return set(re.findall(r'"Index Name": "(\w+)"', plan)) or {"none"}
