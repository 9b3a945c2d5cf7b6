"""POST /memory-logs/search without a project_id: all projects of the user."""

from typing import Any

import pytest

from memories.search import across
from memories.search.search import Mode
from outbox.models import Event
from outbox.publishing import background
from outbox.testing import drain
from tests.support.keys import client_with, new_key
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def of_user(cast: Cast) -> Any:
    """A client whose key opens all projects of Alice and Bob, who are one user."""
    return client_with(new_key(cast.alice.tenant.user_id))


def asked(client: Any, query: str = "login", **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/memory-logs/search", {"query": query, **more}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()
    return found


def ids(hits: list[dict[str, Any]]) -> list[int]:
    return [hit["memory_log_id"] for hit in hits]


@pytest.mark.parametrize("mode", Mode)
def test_a_key_of_a_user_finds_memories_of_all_projects_best_first(cast: Cast, mode: Mode) -> None:
    best = cast.bob.remember(task="Fix the login redirect after the login timed out")["id"]
    good = cast.alice.remember(task="Change the login page's colours and its fonts and its margins")["id"]
    cast.alice.remember(task="Bake sourdough bread")
    cast.charlie.remember(task="Fix the login redirect after the login timed out")
    drain()

    hits = asked(of_user(cast), "login redirect timed out", mode=mode)

    assert ids(hits)[:2] == [best, good]
    assert cast.charlie.tenant.user_id not in {hit["metadata"]["user_id"] for hit in hits}
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert ids(asked(of_user(cast), "login redirect timed out", mode=mode, limit=1)) == [best]


@pytest.mark.parametrize("mode", Mode)
def test_a_key_of_a_project_stays_in_it(cast: Cast, mode: Mode) -> None:
    own = cast.alice.remember()["id"]
    cast.bob.remember()
    drain()

    assert ids(asked(cast.alice.client, mode=mode)) == [own]
    assert ids(asked(cast.alice.client, mode=mode, user_id=cast.alice.tenant.user_id)) == [own]


@pytest.mark.parametrize("mode", Mode)
def test_filters_hold_in_every_project(cast: Cast, mode: Mode) -> None:
    done = [actor.remember(raw_data={"status": "done"})["id"] for actor in (cast.alice, cast.bob)]
    cast.alice.remember(raw_data={"status": "open"})
    drain()

    assert sorted(ids(asked(of_user(cast), mode=mode, filter={"raw_data.status": "done"}))) == done


def test_memories_that_are_not_indexed_yet_are_found(cast: Cast) -> None:
    stored = [actor.remember()["id"] for actor in (cast.alice, cast.bob)]

    assert sorted(ids(asked(of_user(cast)))) == stored


def test_one_project_answers_as_if_it_were_named(cast: Cast) -> None:
    for number in range(5):
        cast.alice.remember(task=f"Fix the login of page {number}")
    drain()

    named = asked(of_user(cast), "login of page 3", project_id=cast.alice.tenant.project_id)

    everywhere = asked(of_user(cast), "login of page 3")
    assert ids(everywhere) == ids(named)
    assert [hit["score"] for hit in everywhere] == pytest.approx([hit["score"] for hit in named])


def test_a_search_is_recorded_once_and_without_a_project(cast: Cast) -> None:
    cast.alice.remember()
    cast.bob.remember()
    asked(of_user(cast))

    assert background.flush(60)
    [event] = Event.objects.filter(type="vector.searched")
    assert event.payload == {
        "user_id": cast.alice.tenant.user_id,
        "project_id": "",
        "limit": 10,
        "results_count": 2,
    }


def test_a_user_with_more_projects_than_a_search_covers_has_to_name_one(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(across, "MAX_PROJECTS", 1)
    cast.alice.remember()
    assert len(asked(of_user(cast))) == 1
    cast.bob.remember()

    refused = of_user(cast).post("/memory-logs/search", {"query": "login"}, content_type="application/json")

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/project_id"


def test_a_user_without_memories_gets_no_hits(cast: Cast) -> None:
    for mode in Mode:
        assert asked(of_user(cast), mode=mode) == []
