"""POST /memory-logs/search: what may be asked, and how it is answered."""

from typing import Any

import pytest

from memories.search.search import Mode
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def asked_by(actor: Actor, query: str, **more: Any) -> Any:
    return actor.send("post", "/memory-logs/search", {**actor.tenant._asdict(), "query": query, **more})


def errors(answer: Any) -> dict[str, str]:
    assert answer.status_code == 400, answer.content
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_is_asked_by_its_name(cast: Cast, mode: str) -> None:
    memory = cast.alice.remember(task="Fix the login redirect")
    drain()

    answer = asked_by(cast.alice, "login", mode=mode)

    (found,) = answer.json()
    assert found["memory_log_id"] == memory["id"]
    assert found["metadata"]["task"] == "Fix the login redirect"
    assert found["score"] > 0
    assert (found["similarity"] is None) == (mode == Mode.LEXICAL)


def test_unless_asked_otherwise_a_memory_is_found_as_soon_as_it_is_stored(cast: Cast) -> None:
    memory = cast.alice.remember(task="Fix the login redirect")

    (found,) = asked_by(cast.alice, "login").json()

    assert found["memory_log_id"] == memory["id"]
    assert found["distance"] is None


def test_filters_narrow_the_answer(cast: Cast) -> None:
    raw = {"tags": ["auth", "web"], "severity": 2}
    wanted = cast.alice.remember(task="Fix login", agent="bob", date="2024-06-01", raw_data=raw)
    cast.alice.remember(task="Fix login", agent="ann", date="2024-05-01", raw_data={"tags": ["auth"]})

    for filters in (
        {"agent": "bob"},
        {"task": "Fix login", "date_from": "2024-06-01"},
        {"date_to": "2024-06-30", "tags": ["web", "auth"]},
        {"raw_data": {"severity": 2}},
        {"agent": "bob", "raw_data": {"severity": 2}, "tags": ["web", "auth"] * 15},
    ):
        found = asked_by(cast.alice, "login", **filters).json()
        assert [one["memory_log_id"] for one in found] == [wanted["id"]], filters


@pytest.mark.parametrize(
    ("asked", "pointer", "says"),
    [
        ({"mode": "magic"}, "/mode", "magic"),
        ({"mode": "lexical", "min_similarity": 0.5}, "/min_similarity", "no similarity"),
        ({"raw_data": {"error": {"code": 1}}}, "/raw_data/error", "Must be a string"),
        ({"raw_data": {"log": "x" * 201}}, "/raw_data/log", "at most 200 characters"),
        ({"raw_data": {"id": 2**60}}, "/raw_data/id", "number"),
        ({"raw_data": ["a"]}, "/raw_data", "JSON object"),
        ({"tags": "auth"}, "/tags", "list"),
        ({"tags": [1]}, "/tags/0", "string"),
        ({"date_from": "tomorrow"}, "/date_from", "format"),
        ({"tags": [f"tag {number}" for number in range(33)]}, "/tags", "32"),
        (
            {"raw_data": {f"key {number}": number for number in range(33)}},
            "/raw_data",
            "at most 32 conditions",
        ),
        ({"raw_data": {"a": 1}, "tags": [str(number) for number in range(32)]}, "/tags", "this one has 33"),
        (
            {"agent": "ann", "raw_data": {str(number): 1 for number in range(32)}},
            "/raw_data",
            "this one has 33",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_place(
    cast: Cast, asked: dict[str, Any], pointer: str, says: str
) -> None:
    assert says in errors(asked_by(cast.alice, "login", **asked))[pointer]


def test_a_result_has_its_memory_only_when_it_is_asked_for(cast: Cast) -> None:
    stored = cast.alice.remember(task="Fix the login")
    drain()
    body = {**cast.alice.tenant._asdict(), "query": "login"}

    [plain] = cast.alice.send("POST", "/memory-logs/search", body).json()
    [full] = cast.alice.send("POST", "/memory-logs/search", body | {"include": ["memory"]}).json()

    assert "memory" not in plain
    assert full["memory"] == cast.alice.get(f"/memory-logs/{stored['id']}").json()
    assert cast.alice.send("POST", "/memory-logs/search", body | {"include": ["all"]}).status_code == 400
