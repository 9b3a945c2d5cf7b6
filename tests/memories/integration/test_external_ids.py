"""`external_id`: a memory by the client's own id."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from memories.models import MemoryLog, MemoryVersion
from memories.records.put import put_memories
from memories.records.services import NewMemory, create_memory
from outbox.models import Event
from outbox.testing import drain
from tests.support.indexed import held
from tests.support.keys import client_with, new_key
from tests.support.tenants import new_tenant
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def path(external_id: str) -> str:
    return f"/memory-logs/external/{quote(external_id, safe='')}"


def put(actor: Actor, external_id: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    return actor.send("PUT", path(external_id), actor.memory(**more), **headers or {})


def test_put_creates_and_then_replaces(cast: Cast) -> None:
    created = put(
        cast.alice, "ticket-7", task="Fix the login", raw_data={"status": "open"}, date="2026-01-02"
    )
    replaced = put(cast.alice, "ticket-7", task="Fix the login")

    assert (created.status_code, replaced.status_code) == (201, 200)
    assert created["Location"] == replaced["Location"] == f"/memory-logs/{created.json()['id']}"
    assert (created["ETag"], replaced["ETag"]) == ('"1"', '"2"')
    assert created.json()["external_id"] == "ticket-7"
    assert replaced.json()["raw_data"] == {}
    assert replaced.json()["date"] == "2026-01-02"
    drain()
    assert held(MemoryLog.objects.get()) is not None
    types = Event.objects.filter(aggregatetype="memory_log").order_by("id").values_list("type", flat=True)
    assert list(types) == ["memory_log.stored", "memory_log.updated"]


def test_what_is_equal_already_makes_no_version_and_no_event(cast: Cast) -> None:
    first, second = (put(cast.alice, "ticket-7", raw_data={"n": 1}, date="2026-01-02") for _ in range(2))

    assert (second.status_code, second.json()) == (200, first.json())
    assert MemoryVersion.objects.count() == Event.objects.count() == 1


def test_it_is_in_every_answer(cast: Cast) -> None:
    stored = put(cast.alice, "ticket-7").json()

    assert cast.alice.get(f"/memory-logs/{stored['id']}").json()["external_id"] == "ticket-7"
    assert cast.alice.get("/memory-logs").json()["results"][0]["external_id"] == "ticket-7"
    assert (
        cast.alice.get(f"/memory-logs/{stored['id']}/history").json()["results"][0]["external_id"]
        == "ticket-7"
    )
    then = cast.alice.get(f"/memory-logs/{stored['id']}", as_of=stored["created_at"]).json()
    assert then["external_id"] == "ticket-7"
    assert cast.alice.remember()["external_id"] is None


def test_get_and_delete_take_it_too(cast: Cast) -> None:
    stored = put(cast.alice, "ticket-7").json()
    drain()

    assert cast.alice.get(path("ticket-7")).json()["id"] == stored["id"]
    assert len(cast.alice.get(path("ticket-7"), include="embedding").json()["embedding"]) == 768
    assert cast.alice.send("DELETE", path("ticket-7"), **{"If-Match": '"2"'}).status_code == 412
    assert cast.alice.send("DELETE", path("ticket-7")).status_code == 204
    assert cast.alice.get(path("ticket-7")).status_code == 404
    assert cast.alice.send("DELETE", path("ticket-7")).status_code == 404
    assert put(cast.alice, "ticket-7").status_code == 201


@pytest.mark.parametrize("external_id", ["a/b", "a b", "ä/漢", "a?b#c", "%2F", "..", "a//b/", "events"])
def test_any_text_is_an_id(cast: Cast, external_id: str) -> None:
    assert put(cast.alice, external_id).status_code == 201

    assert cast.alice.get(path(external_id)).json()["external_id"] == external_id


@pytest.mark.parametrize("external_id", [" a", "a\t", "x" * 201, "a\x00"])
def test_what_is_no_id_is_refused(cast: Cast, external_id: str) -> None:
    answers = [put(cast.alice, external_id), cast.alice.get(path(external_id))]
    answers.append(cast.alice.send("POST", "/memory-logs", cast.alice.memory(external_id=external_id)))

    for answer in answers:
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/external_id"]


def test_each_tenant_has_ids_of_its_own(cast: Cast) -> None:
    answers = [put(actor, "ticket-7") for actor in cast]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 3
    query = {"user_id": cast.alice.tenant.user_id, "project_id": cast.alice.tenant.project_id}
    assert cast.charlie.get(path("ticket-7"), **query).status_code == 403


def test_a_post_with_an_id_that_is_taken_is_409_and_stores_nothing(cast: Cast) -> None:
    first = cast.alice.send("POST", "/memory-logs", cast.alice.memory(external_id="ticket-7"))
    second = cast.alice.send("POST", "/memory-logs", cast.alice.memory(external_id="ticket-7"))
    headers = {"Idempotency-Key": "one"}
    keyed = cast.alice.send("POST", "/memory-logs", cast.alice.memory(external_id="ticket-7"), **headers)

    assert first.json()["external_id"] == "ticket-7"
    assert (second.status_code, keyed.status_code) == (409, 409)
    assert second.json()["type"] == "urn:semantix:problem:external-id-taken"
    assert "PUT /memory-logs/external/" in second.json()["detail"]
    assert MemoryLog.objects.count() == Event.objects.count() == 1


def test_a_memory_keeps_its_id(cast: Cast) -> None:
    stored = put(cast.alice, "ticket-7").json()

    same = cast.alice.send("PUT", f"/memory-logs/{stored['id']}", stored)
    moved = cast.alice.send("PATCH", f"/memory-logs/{stored['id']}", {"external_id": "ticket-8"})
    other = cast.alice.send("PUT", path("ticket-8"), cast.alice.memory(external_id="ticket-7"))

    assert same.status_code == 200
    for answer in (moved, other):
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/external_id"]


def test_put_can_be_meant_for_one_version_or_for_none(cast: Cast) -> None:
    absent = put(cast.alice, "ticket-7", {"If-Match": '"1"'})
    created = put(cast.alice, "ticket-7", {"If-None-Match": "*"})
    again = put(cast.alice, "ticket-7", {"If-None-Match": "*"}, task="Other")
    changed = put(cast.alice, "ticket-7", {"If-Match": '"1"'}, task="New")
    late = put(cast.alice, "ticket-7", {"If-Match": '"1"'}, task="Newer")

    assert [answer.status_code for answer in (absent, created, again, changed, late)] == [
        412,
        201,
        412,
        200,
        412,
    ]
    assert MemoryLog.objects.get().task == "New"


def test_a_batch_creates_and_replaces(cast: Cast) -> None:
    old = put(cast.alice, "a", raw_data={"n": 0}).json()
    batch = [
        cast.alice.memory(external_id="a", raw_data={"n": 1}),
        cast.alice.memory(external_id="b", raw_data={"n": 2}),
        cast.alice.memory(raw_data={"n": 3}),
    ]

    first = cast.alice.send("POST", "/memory-logs/batch", batch).json()
    again = cast.alice.send("POST", "/memory-logs/batch", batch[:2]).json()

    assert (first["created"], first["replaced"], first["ids"][0]) == (2, 1, old["id"])
    assert (again["created"], again["replaced"], again["ids"]) == (0, 2, first["ids"][:2])
    rows = MemoryLog.objects.in_bulk(first["ids"])
    assert [rows[memory_id].raw_data for memory_id in first["ids"]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [rows[memory_id].version for memory_id in first["ids"]] == [2, 1, 1]


def test_a_batch_names_an_id_once(cast: Cast) -> None:
    batch = [cast.alice.memory(external_id="a"), cast.alice.memory(), cast.alice.memory(external_id="a")]

    answer = cast.alice.send("POST", "/memory-logs/batch", batch)

    assert [error["pointer"] for error in answer.json()["errors"]] == ["/2/external_id"]
    assert not MemoryLog.objects.exists()


def test_many_that_put_the_same_id_at_once_store_one() -> None:
    tenant = new_tenant()

    def store(number: int) -> bool:
        fields = {**tenant._asdict(), "task": f"Task {number}", "agent": "coder", "external_id": "one"}
        try:
            return put_memories([fields])[0].created
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        created = list(threads.map(store, range(6)))

    assert created.count(True) == 1
    assert MemoryLog.objects.get().version == 6


def test_an_expired_memory_gives_its_id_to_a_new_one(cast: Cast) -> None:
    soon = timezone.now() + timedelta(seconds=-1)
    for external_id in ("put", "post"):
        create_memory(
            NewMemory(
                **cast.alice.tenant._asdict(),
                task="Old",
                agent="coder",
                external_id=external_id,
                expires_at=soon,
            )
        )

    posted = cast.alice.send("POST", "/memory-logs", cast.alice.memory(external_id="post"))

    assert cast.alice.get(path("put")).status_code == 404
    assert put(cast.alice, "put").status_code == 201
    assert posted.status_code == 201
    assert set(MemoryLog.objects.values_list("version", flat=True)) == {1}


class TestTenantOfAKey:
    """`user_id` and `project_id` default from the key."""

    def test_a_body_and_a_query_need_not_repeat_it(self, cast: Cast) -> None:
        alice = cast.alice
        body = {"task": "Fix the login", "agent": "coder"}

        stored = alice.send("POST", "/memory-logs", body).json()
        batch = alice.send("POST", "/memory-logs/batch", [body])
        external = alice.send("PUT", path("ticket-7"), body)
        found = alice.send("POST", "/memory-logs/search", {"query": "login"})

        assert (stored["user_id"], stored["project_id"]) == alice.tenant
        assert (batch.status_code, external.status_code, found.status_code) == (201, 201, 200)
        assert set(MemoryLog.objects.values_list("user_id", "project_id")) == {tuple(alice.tenant)}
        assert alice.get(path("ticket-7")).status_code == 200

    def test_a_key_to_all_projects_of_a_user_leaves_the_project_to_be_named(self, cast: Cast) -> None:
        client = client_with(new_key("ada"))
        body = {"task": "Fix the login", "agent": "coder"}

        refused = client.post("/memory-logs", body, content_type="application/json")
        stored = client.post("/memory-logs", body | {"project_id": "web"}, content_type="application/json")

        assert [error["pointer"] for error in refused.json()["errors"]] == ["/project_id"]
        assert stored.json()["user_id"] == "ada"

    def test_another_tenant_that_is_named_is_still_refused(self, cast: Cast) -> None:
        body = {"task": "Fix the login", "agent": "coder", "project_id": "other"}

        assert cast.alice.send("POST", "/memory-logs", body).status_code == 403

    def test_without_a_key_both_are_named(self, client: Client) -> None:
        body = {"task": "Fix the login", "agent": "coder"}

        answer = client.post("/memory-logs", body, content_type="application/json")

        assert {error["pointer"] for error in answer.json()["errors"]} == {"/user_id", "/project_id"}
        assert client.get(path("ticket-7")).status_code == 400
