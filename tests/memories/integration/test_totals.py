"""GET /memory-logs/count and GET /tenants."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from memories.models import MemoryLog
from memories.records import totals
from memories.tenants import Tenant
from tests.support.keys import client_with, memory, new_key
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db


def count(client: Client, **query: Any) -> int:
    answer = client.get("/memory-logs/count", query)
    assert answer.status_code == 200, answer.content
    return int(answer.json()["count"])


def test_memories_are_counted_by_the_filters_of_the_list(cast: Cast) -> None:
    first = cast.alice.remember(agent="ann", raw_data={"tags": ["a"], "n": 1})
    cast.alice.remember(agent="bob", raw_data={"tags": ["a", "b"], "n": 2})
    cast.bob.remember(agent="bob")
    alice, user = cast.alice.client, client_with(new_key(cast.alice.tenant.user_id))

    assert (count(alice), count(user), count(user, project_id="app")) == (2, 3, 1)
    assert (count(alice, agent="bob"), count(alice, tags="a")) == (1, 2)
    assert count(user, filter=json.dumps({"raw_data.n": {"gte": 1}})) == 2
    cast.alice.send("DELETE", f"/memory-logs/{first['id']}")
    assert (count(alice), count(alice, as_of=first["created_at"])) == (1, 1)


def test_an_expired_memory_is_not_counted(cast: Cast) -> None:
    cast.alice.remember()
    expired = cast.alice.remember()["id"]
    MemoryLog.objects.filter(id=expired).update(expires_at="2020-01-01T00:00Z")

    assert count(cast.alice.client) == 1
    [total] = cast.alice.get("/tenants").json()["results"]
    assert total["memories"] == 1


def test_an_unknown_parameter_of_a_count_is_refused(cast: Cast) -> None:
    assert cast.alice.get("/memory-logs/count", page_size=5).status_code == 400


@pytest.fixture
def user() -> str:
    """A user with three projects of one, two and three memories."""
    user_id = f"user-{uuid4().hex}"
    for number, project in enumerate(["b", "a", "c/d"], 1):
        for _ in range(number):
            Client().post("/memory-logs", memory(user_id, project), content_type="application/json")
    return user_id


def test_a_key_of_a_user_lists_its_projects_in_order_with_their_memories(user: str) -> None:
    answer = client_with(new_key(user)).get("/tenants").json()

    assert answer == {
        "next": None,
        "results": [
            {"user_id": user, "project_id": "a", "memories": 2},
            {"user_id": user, "project_id": "b", "memories": 1},
            {"user_id": user, "project_id": "c/d", "memories": 3},
        ],
    }


def test_a_key_of_a_project_lists_it_alone(user: str) -> None:
    found = client_with(new_key(user, "b")).get("/tenants").json()["results"]

    assert found == [{"user_id": user, "project_id": "b", "memories": 1}]


def test_pages_follow_each_other(user: str) -> None:
    client = client_with(new_key(user))
    page = client.get("/tenants", {"page_size": 1}).json()
    seen = [page]
    while page["next"]:
        page = client.get(page["next"]).json()
        seen.append(page)

    assert [[total["project_id"] for total in page["results"]] for page in seen] == [["a"], ["b"], ["c/d"]]


def test_without_a_key_an_open_service_lists_every_tenant(user: str) -> None:
    other = Tenant(f"user-{uuid4().hex}", "x")
    Client().post("/memory-logs", memory(*other), content_type="application/json")

    found = Client().get("/tenants").json()["results"]

    assert {total["user_id"] for total in found} >= {user, other.user_id}
    assert len(Client().get("/tenants", {"user_id": other.user_id}).json()["results"]) == 1


@pytest.mark.parametrize("cursor", ["x", "", "W10=", "WyJhIiwiXHUwMDAwIl0=", "WyJcdWQ4MDAiLCJhIl0=", "é"])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    answer = Client().get("/tenants", {"cursor": cursor})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/cursor"


def test_a_page_reads_a_step_in_the_index_for_each_tenant() -> None:
    """A tenant with many memories costs no more than one with few to find, and nothing reads the table."""
    user = f"user-{uuid4().hex}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            SET LOCAL session_replication_role = replica;
            INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash,
                embedding_model, embedded_hash)
            SELECT %s, 'project-' || n %% 5, 'task', 'agent', '2024-01-01', '{}', 1, '', '', ''
            FROM generate_series(1, 10000) AS n
            """,
            [user],
        )
        cursor.execute("ANALYZE memory_logs")
        with CaptureQueriesContext(connection) as queries:
            found = totals.tenants_of_user(user, limit=10)
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert [tenant.project_id for tenant in found] == [f"project-{number}" for number in range(5)]
    assert "Seq Scan" not in plan, plan
