"""GET /memory-logs: pages and filters."""

from typing import Any

import pytest

from memories.records.services import delete_memory
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def listed(actor: Actor, **query: Any) -> list[int]:
    answer = actor.get("/memory-logs", **query)
    assert answer.status_code == 200, answer.content
    return [memory["id"] for memory in answer.json()["results"]]


def test_the_newest_come_first_and_only_ones_own(cast: Cast) -> None:
    mine = [cast.alice.remember()["id"] for _ in range(3)]
    cast.bob.remember()
    cast.charlie.remember()

    assert listed(cast.alice) == mine[::-1]


def test_naming_another_tenant_is_refused_whether_it_exists_or_not(cast: Cast) -> None:
    cast.alice.remember()

    there = cast.charlie.get("/memory-logs", user_id=cast.alice.tenant.user_id)
    nowhere = cast.charlie.get("/memory-logs", user_id="nobody")

    assert (there.status_code, there.content) == (403, nowhere.content)
    assert cast.bob.get("/memory-logs", project_id=cast.alice.tenant.project_id).status_code == 403


def test_pages_shift_by_nothing_that_is_stored_or_deleted_meanwhile(cast: Cast) -> None:
    ids = [cast.alice.remember()["id"] for _ in range(5)]

    page = cast.alice.get("/memory-logs", page_size=2).json()
    seen = [memory["id"] for memory in page["results"]]
    cast.alice.remember()
    delete_memory(ids[-1])
    while page["next"]:
        page = cast.alice.client.get(page["next"]).json()
        seen += [memory["id"] for memory in page["results"]]

    assert seen == ids[::-1]
    assert [memory["id"] for memory in cast.alice.client.get(page["previous"]).json()["results"]] == ids[
        2:0:-1
    ]


def test_filters_are_all_met(cast: Cast) -> None:
    bread = cast.alice.remember(task="Bake bread", agent="ada", date="2026-01-02")["id"]
    cake = cast.alice.remember(task="Bake cake", agent="ada", date="2026-01-03")["id"]
    login = cast.alice.remember(task="Fix the login", agent="grace", date="2026-01-03")["id"]

    assert listed(cast.alice, task="Bake bread") == [bread]
    assert listed(cast.alice, agent="ada") == [cake, bread]
    assert listed(cast.alice, date_from="2026-01-03") == [login, cake]
    assert listed(cast.alice, date_to="2026-01-02") == [bread]
    assert listed(cast.alice, agent="ada", date_from="2026-01-03", date_to="2026-01-03") == [cake]
    assert listed(cast.alice, **cast.alice.tenant._asdict()) == [login, cake, bread]


def test_tags_are_all_there(cast: Cast) -> None:
    both = cast.alice.remember(raw_data={"tags": ["auth", "cookies", "web"]})["id"]
    one = cast.alice.remember(raw_data={"tags": ["auth"]})["id"]
    cast.alice.remember(raw_data={"tags": "authentic"})

    assert listed(cast.alice, tags="auth") == [one, both]
    assert listed(cast.alice, tags="cookies,auth") == [both]
    assert listed(cast.alice, tags=["cookies", "auth"]) == [both]


def test_they_can_be_told_apart_by_how_far_they_have_come(cast: Cast) -> None:
    indexed = cast.alice.remember()["id"]
    drain()
    pending = cast.alice.remember()["id"]

    assert listed(cast.alice, sync_status="indexed") == [indexed]
    assert listed(cast.alice, sync_status="pending") == [pending]
    assert listed(cast.alice, sync_status="failed") == []


def test_embeddings_come_when_they_are_asked_for(cast: Cast) -> None:
    cast.alice.remember()
    drain()

    [memory] = cast.alice.get("/memory-logs", include="embedding").json()["results"]

    assert len(memory["embedding"]) == 768


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"usr_id": "ada", "limit": "3"}, ["/limit", "/usr_id"]),
        ({"date_from": "tomorrow"}, ["/date_from"]),
        ({"sync_status": "done"}, ["/sync_status"]),
        ({"page_size": "0"}, ["/page_size"]),
        ({"page_size": "501"}, ["/page_size"]),
        ({"agent": ["ada", "grace"]}, ["/agent"]),
        ({"agent": "a\x00b"}, ["/agent"]),
        ({"cursor": "rubbish"}, ["/cursor"]),
        ({"cursor": "cD1hYmM="}, ["/cursor"]),  # p=abc
        ({"as_of": "2026-01-01", "sync_status": "indexed"}, ["/sync_status"]),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    cast: Cast, query: dict[str, Any], named: list[str]
) -> None:
    answer = cast.alice.get("/memory-logs", **query)

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == named


def test_an_unknown_parameter_is_told_the_known_ones(cast: Cast) -> None:
    assert "user_id" in cast.alice.get("/memory-logs", usr_id="ada").json()["errors"][0]["detail"]
