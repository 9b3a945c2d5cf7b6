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


def test_a_result_has_what_is_included(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"n": [1, {"a": None}]})
    drain()

    [plain] = asked_by(cast.alice, "login").json()
    [full] = asked_by(cast.alice, "login", include=["raw_data", "created_at", "memory"]).json()

    assert not {"raw_data", "created_at", "memory", "explain"} & plain.keys()
    assert (full["raw_data"], full["created_at"]) == (stored["raw_data"], stored["created_at"])
    assert full["memory"]["id"] == stored["id"]


def test_explain_tells_the_places_and_what_neighbours_added(cast: Cast) -> None:
    """Two lines of one task lift each other; a memory of another task stands alone."""
    lines = [
        cast.alice.remember(task="A talk", raw_data={"said": said})["id"] for said in ("login", "password")
    ]
    alone = cast.alice.remember(task="The login page")["id"]
    drain()

    hits = asked_by(cast.alice, "login password", include=["explain"]).json()

    explained = {hit["memory_log_id"]: hit["explain"] for hit in hits}
    assert sorted(one["words"]["place"] for one in explained.values()) == [1, 2, 3]
    assert sorted(one["meaning"]["place"] for one in explained.values()) == [1, 2, 3]
    assert all(explained[line]["neighbours"] > 0 for line in lines)
    assert explained[alone]["neighbours"] == 0
    for hit in hits:
        assert hit["explain"]["meaning"]["distance"] == hit["distance"]


@pytest.mark.parametrize(
    ("mode", "ranking", "other"), [("lexical", "words", "meaning"), ("vector", "meaning", "words")]
)
def test_a_ranking_alone_explains_its_own_places(cast: Cast, mode: str, ranking: str, other: str) -> None:
    for number in range(3):
        cast.alice.remember(task=f"Fix the login {'again ' * number}")
    drain()

    hits = asked_by(cast.alice, "login", mode=mode, include=["explain"]).json()

    assert [hit["explain"][ranking]["place"] for hit in hits] == [1, 2, 3]
    assert [hit["explain"][other] for hit in hits] == [None] * 3


def test_a_memory_that_only_words_found_has_no_place_by_meaning(cast: Cast) -> None:
    cast.alice.remember()

    [hit] = asked_by(cast.alice, "login", include=["explain"]).json()

    assert hit["explain"]["words"]["place"] == 1
    assert hit["explain"]["meaning"] is None
