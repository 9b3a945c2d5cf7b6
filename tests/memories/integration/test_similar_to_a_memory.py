"""GET /memory-logs/{id}/similar: the nearest memories of the same project."""

from typing import Any

import pytest

from memories.models import MemoryLog
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def similar(actor: Actor, memory_id: int, **query: Any) -> list[dict[str, Any]]:
    answer = actor.get(f"/memory-logs/{memory_id}/similar", **query)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()
    return found


def ids(hits: list[dict[str, Any]]) -> list[int]:
    return [hit["memory_log_id"] for hit in hits]


def test_the_nearest_come_first_and_the_memory_itself_not_at_all(cast: Cast) -> None:
    one = cast.alice.remember(task="Fix the login redirect")["id"]
    near = cast.alice.remember(task="Fix the login redirect loop")["id"]
    far = cast.alice.remember(task="Bake sourdough bread")["id"]
    cast.bob.remember(task="Fix the login redirect")
    drain()

    hits = similar(cast.alice, one)

    assert ids(hits) == [near, far]
    assert hits[0]["similarity"] > hits[1]["similarity"]
    assert ids(similar(cast.alice, one, limit=1)) == [near]
    assert ids(similar(cast.alice, one, min_similarity=hits[0]["similarity"] - 0.001)) == [near]
    assert "raw_data" not in hits[0]


def test_it_takes_the_filters_and_the_includes_of_a_search(cast: Cast) -> None:
    one = cast.alice.remember(agent="ann")["id"]
    bobs = cast.alice.remember(agent="bob", raw_data={"n": 5})["id"]
    cast.alice.remember(agent="ann", raw_data={"n": 5})
    drain()

    [hit] = similar(cast.alice, one, agent="bob", filter='{"raw_data.n": 5}', include="raw_data,explain")

    assert (hit["memory_log_id"], hit["raw_data"]) == (bobs, {"n": 5})
    assert hit["explain"]["meaning"]["place"] == 1


def test_a_memory_that_is_not_embedded_yet_has_similar_ones(cast: Cast) -> None:
    stored = cast.alice.remember(task="Fix the login redirect")["id"]
    drain()
    fresh = cast.alice.remember(task="Fix the login redirect loop")["id"]

    assert ids(similar(cast.alice, fresh)) == [stored]


def test_a_changed_memory_is_compared_as_it_is_now(cast: Cast) -> None:
    row = cast.alice.remember(task="Bake sourdough bread")["id"]
    login = cast.alice.remember(task="Fix the login redirect")["id"]
    cast.alice.remember(task="Bake sourdough bread twice")
    drain()
    cast.alice.send("PATCH", f"/memory-logs/{row}", {"task": "Fix the login redirect loop"})

    assert ids(similar(cast.alice, row))[0] == login


def test_an_expired_memory_is_not_there(cast: Cast) -> None:
    row = cast.alice.remember()["id"]
    MemoryLog.objects.filter(id=row).update(expires_at="2020-01-01T00:00Z")

    assert cast.alice.get(f"/memory-logs/{row}/similar").status_code == 404


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"include": "vector"}, {"filter": "{"}, {"user_id": "x"}]
)
def test_what_is_not_understood_is_refused_by_name(cast: Cast, query: dict[str, Any]) -> None:
    row = cast.alice.remember()["id"]

    refused = cast.alice.get(f"/memory-logs/{row}/similar", **query)

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"].startswith(f"/{next(iter(query))}")
