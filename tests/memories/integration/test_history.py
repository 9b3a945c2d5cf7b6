"""What was: /memory-logs/{id}/history and ?as_of=."""

from typing import Any

import pytest
from django.db import connection

from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def history(actor: Actor, memory: dict[str, Any]) -> list[dict[str, Any]]:
    answer = actor.get(f"/memory-logs/{memory['id']}/history")
    assert answer.status_code == 200, answer.content
    versions: list[dict[str, Any]] = answer.json()["results"]
    return versions


def test_every_version_is_kept_with_its_kind_and_time(cast: Cast) -> None:
    alice = cast.alice
    stored = alice.remember(task="One", raw_data={"n": 1})
    changed = alice.send("PATCH", f"/memory-logs/{stored['id']}", {"task": "Two"}).json()
    alice.send("DELETE", f"/memory-logs/{stored['id']}")

    created, updated, deleted = history(alice, stored)

    assert (created["change"], created["version"], created["task"]) == ("created", 1, "One")
    assert (updated["change"], updated["version"], updated["task"]) == ("updated", 2, "Two")
    assert (deleted["change"], deleted["version"], deleted["task"]) == ("deleted", 2, "Two")
    assert created["changed_at"] == stored["created_at"] == stored["updated_at"]
    assert updated["changed_at"] == changed["updated_at"] < deleted["changed_at"]
    assert created["raw_data"] == {"n": 1}


def test_embedding_and_indexing_make_no_version(cast: Cast) -> None:
    stored = cast.alice.remember()

    drain()

    assert MemoryLog.objects.get(id=stored["id"]).indexed_version == 1
    assert [version["change"] for version in history(cast.alice, stored)] == ["created"]


def test_bulk_and_sql_changes_are_in_it(cast: Cast) -> None:
    one, two = cast.alice.remember(), cast.alice.remember()

    MemoryLog.objects.filter(id__in=[one["id"], two["id"]]).update(agent="bulk")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memory_logs SET agent = 'sql' WHERE id = %s", [one["id"]])
        cursor.execute("DELETE FROM memory_logs WHERE id = %s", [two["id"]])

    assert [version["agent"] for version in history(cast.alice, one)] == ["coder", "bulk", "sql"]
    assert [version["change"] for version in history(cast.alice, two)] == ["created", "updated", "deleted"]


def test_long_histories_come_in_pages(cast: Cast) -> None:
    stored = cast.alice.remember()
    for number in range(3):
        cast.alice.send("PATCH", f"/memory-logs/{stored['id']}", {"agent": f"agent {number}"})

    page = cast.alice.get(f"/memory-logs/{stored['id']}/history", page_size=3).json()
    rest = cast.alice.client.get(page["next"]).json()

    assert [version["version"] for version in page["results"] + rest["results"]] == [1, 2, 3, 4]


def test_a_memory_is_shown_as_it_was_while_it_lived(cast: Cast) -> None:
    alice = cast.alice
    stored = alice.remember(task="One")
    path = f"/memory-logs/{stored['id']}"
    changed = alice.send("PATCH", path, {"task": "Two"}).json()
    alice.send("DELETE", path)
    deleted = history(alice, stored)[-1]

    def task_at(moment: str) -> Any:
        return alice.get(path, as_of=moment).json().get("task")

    assert task_at(stored["created_at"]) == "One"
    assert task_at(changed["updated_at"]) == "Two"
    assert alice.get(path, as_of=deleted["changed_at"]).status_code == 404
    assert alice.get(path, as_of="2001-01-01T00:00:00Z").status_code == 404
    then = alice.get(path, as_of=stored["created_at"]).json()
    assert then == {**stored, "sync": None}


def test_a_list_shows_who_lived_then_as_they_were_then(cast: Cast) -> None:
    alice = cast.alice
    kept, gone = alice.remember(task="Kept"), alice.remember(task="Gone")
    cast.bob.remember()
    then = alice.get(f"/memory-logs/{gone['id']}").json()["created_at"]
    alice.send("PATCH", f"/memory-logs/{kept['id']}", {"task": "Changed"})
    alice.send("DELETE", f"/memory-logs/{gone['id']}")
    alice.remember(task="Later")

    def tasks(**query: Any) -> list[str]:
        return [memory["task"] for memory in alice.get("/memory-logs", **query).json()["results"]]

    assert tasks(as_of=then) == ["Gone", "Kept"]
    assert tasks(as_of=then, task="Kept") == ["Kept"]
    assert tasks(as_of=then, task="Changed") == []
    assert tasks() == ["Later", "Changed"]
    first = alice.get("/memory-logs", as_of=then, page_size=1).json()
    second = alice.client.get(first["next"]).json()
    assert [memory["id"] for memory in first["results"] + second["results"]] == [gone["id"], kept["id"]]


def test_an_offset_with_an_unescaped_plus_is_understood(cast: Cast) -> None:
    stored = cast.alice.remember()
    local = stored["created_at"].replace("Z", "+00:00")

    answer = cast.alice.client.get(f"/memory-logs/{stored['id']}?as_of={local}")

    assert answer.status_code == 200


def test_the_past_is_nobody_elses_either(cast: Cast) -> None:
    stored = cast.alice.remember()
    then = stored["created_at"]

    for other in (cast.bob, cast.charlie):
        assert other.get(f"/memory-logs/{stored['id']}/history").status_code == 404
        assert other.get(f"/memory-logs/{stored['id']}", as_of=then).status_code == 404
        assert other.get("/memory-logs", as_of=then).json()["results"] == []
