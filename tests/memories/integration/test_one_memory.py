"""GET, PUT, PATCH and DELETE of /memory-logs/{id}."""

from typing import Any

import pytest

from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def path(memory: dict[str, Any]) -> str:
    return f"/memory-logs/{memory['id']}"


def test_what_was_stored_is_read_back(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"tags": ["auth"]})

    answer = cast.alice.get(path(stored))

    assert answer.json() == stored
    assert stored["embedding"] is None
    assert stored["sync"] == {
        "status": "pending",
        "version": 1,
        "indexed_version": None,
        "embedded_at": None,
        "indexed_at": None,
        "error": None,
    }


def test_one_that_is_indexed_is_read_with_a_single_query(
    cast: Cast, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.API_KEY_CACHE_SECONDS = 3600
    stored = cast.alice.remember()  # the key is remembered from here on
    MemoryLog.objects.filter(id=stored["id"]).update(indexed_version=1)

    with django_assert_num_queries(1):
        answer = cast.alice.get(path(stored))

    assert answer.json()["sync"]["status"] == "indexed"
    assert answer.json()["sync"]["error"] is None


def test_the_embedding_comes_when_it_is_asked_for(cast: Cast) -> None:
    stored = cast.alice.remember()
    drain()

    assert cast.alice.get(path(stored)).json()["embedding"] is None
    assert len(cast.alice.get(path(stored), include="embedding").json()["embedding"]) == 768


def test_patch_changes_what_it_names_and_leaves_the_rest(cast: Cast) -> None:
    stored = cast.alice.remember(raw_data={"summary": "cookies"})

    answer = cast.alice.send("PATCH", path(stored), {"agent": "ada"})

    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["agent"], changed["version"], changed["sync"]["version"]) == ("ada", 2, 2)
    assert changed["updated_at"] > stored["updated_at"]
    untouched = ("id", "task", "date", "user_id", "project_id", "raw_data", "created_at")
    assert [changed[name] for name in untouched] == [stored[name] for name in untouched]
    assert cast.alice.get(path(stored)).json() == changed


def test_put_replaces_and_leaves_only_the_date_where_none_is_given(cast: Cast) -> None:
    stored = cast.alice.remember(date="2020-02-29", raw_data={"summary": "cookies"})

    changed = cast.alice.send("PUT", path(stored), {"task": "Bake bread", "agent": "ada"}).json()

    assert [changed[name] for name in ("task", "agent", "date", "raw_data")] == [
        "Bake bread",
        "ada",
        "2020-02-29",
        {},
    ]


def test_put_wants_the_whole_memory(cast: Cast) -> None:
    answer = cast.alice.send("PUT", path(cast.alice.remember()), {"task": "Bake bread"})

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/agent"]


def test_a_memory_that_was_read_can_be_put_back_as_it_is(cast: Cast) -> None:
    stored = cast.alice.remember()

    assert cast.alice.send("PUT", path(stored), stored).json() == stored


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("field", ["user_id", "project_id"])
def test_a_memory_stays_with_its_tenant(cast: Cast, method: str, field: str) -> None:
    stored = cast.alice.remember()

    answer = cast.alice.send(method, path(stored), {**stored, field: "another"})

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["pointer"] == f"/{field}"
    assert "keeps its tenant" in error["detail"]


def test_a_change_for_the_version_that_was_read_is_made_once(cast: Cast) -> None:
    stored = cast.alice.remember()
    read = cast.alice.get(path(stored))["ETag"]

    first = cast.alice.send("PATCH", path(stored), {"agent": "ada"}, **{"If-Match": read})
    second = cast.alice.send("PATCH", path(stored), {"agent": "grace"}, **{"If-Match": read})
    gone = cast.alice.send("DELETE", path(stored), **{"If-Match": read})

    assert (first.status_code, first["ETag"]) == (200, '"2"')
    assert (second.status_code, gone.status_code) == (412, 412)
    assert "at version 2" in second.json()["detail"]
    assert cast.alice.get(path(stored)).json()["agent"] == "ada"


def test_an_if_match_that_no_etag_says_is_refused(cast: Cast) -> None:
    answer = cast.alice.send("DELETE", path(cast.alice.remember()), **{"If-Match": 'W/"1"'})

    assert answer.status_code == 400
    assert MemoryLog.objects.count() == 1


def test_a_deleted_memory_is_gone(cast: Cast) -> None:
    stored = cast.alice.remember()

    answer = cast.alice.send("DELETE", path(stored))

    assert (answer.status_code, answer.content) == (204, b"")
    assert cast.alice.get(path(stored)).status_code == 404
    assert cast.alice.send("DELETE", path(stored)).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_others_meet_the_same_404_as_for_what_there_never_was(cast: Cast, method: str) -> None:
    stored = cast.alice.remember()
    body = None if method == "GET" else {"task": "Mine now", "agent": "eve"}

    never = cast.bob.send(method, "/memory-logs/9223372036854775807", body)
    answers = [other.send(method, path(stored), body) for other in (cast.bob, cast.charlie)]

    assert {(answer.status_code, answer.content) for answer in answers} == {(404, never.content)}
    assert cast.alice.get(path(stored)).json() == stored


def test_an_id_longer_than_any_is_just_not_there(cast: Cast) -> None:
    for more in ("", "/history", "?as_of=2026-01-01"):
        assert cast.alice.get(f"/memory-logs/{10**40}{more}").status_code == 404


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"includes": "embedding"}, "/includes"),
        ({"include": "everything"}, "/include/0"),
        ({"as_of": "yesterday"}, "/as_of"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2026-01-01T00:00:00Z", "include": "embedding"}, "/include"),
    ],
)
def test_a_query_that_means_nothing_here_is_refused(cast: Cast, query: dict[str, str], named: str) -> None:
    answer = cast.alice.get(path(cast.alice.remember()), **query)

    assert answer.status_code == 400
    assert named in [error["pointer"] for error in answer.json()["errors"]]
