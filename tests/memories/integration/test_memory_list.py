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


def test_a_tag_with_a_comma_is_asked_for_by_repeating_the_parameter(cast: Cast) -> None:
    comma = cast.alice.remember(raw_data={"tags": ["red, green", "web"]})["id"]
    cast.alice.remember(raw_data={"tags": ["red", "green", "web"]})

    assert listed(cast.alice, tags=["red, green", "web"]) == [comma]
    assert listed(cast.alice, tags=["red, green", "red, green"]) == [comma]


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


class TestLargePages:
    """A page has at most PAGE_MAX_BYTES, and at least one memory."""

    SIZE = 10_000

    @pytest.fixture(autouse=True)
    def _five_large_memories(self, cast: Cast, settings: Any) -> None:
        settings.PAGE_MAX_BYTES = 25_000
        self.ids = [cast.alice.remember(raw_data={"a": "x" * self.SIZE})["id"] for _ in range(5)]

    def test_a_page_ends_early_and_says_where_the_next_begins(self, cast: Cast) -> None:
        pages = self.pages_of(cast.alice, "/memory-logs")

        assert pages == [self.ids[:2:-1], self.ids[2:0:-1], self.ids[:1]]

    def test_the_way_back_is_as_long(self, cast: Cast) -> None:
        first = cast.alice.get("/memory-logs").json()
        second = cast.alice.client.get(first["next"]).json()
        third = cast.alice.client.get(second["next"]).json()

        back = cast.alice.client.get(third["previous"]).json()

        assert ids_of(back) == ids_of(second)
        assert ids_of(cast.alice.client.get(back["previous"]).json()) == ids_of(first)

    def test_a_memory_larger_than_a_page_is_alone_in_one(self, cast: Cast, settings: Any) -> None:
        settings.PAGE_MAX_BYTES = 1

        assert self.pages_of(cast.alice, "/memory-logs") == [[memory_id] for memory_id in self.ids[::-1]]

    def test_earlier_states_and_versions_come_in_such_pages_too(self, cast: Cast) -> None:
        stored = cast.alice.get(f"/memory-logs/{self.ids[-1]}").json()
        for number in range(3):
            change = {"raw_data": {"a": "y" * self.SIZE + str(number)}}
            cast.alice.send("PATCH", f"/memory-logs/{self.ids[-1]}", change)

        states = self.pages_of(cast.alice, "/memory-logs", as_of=stored["created_at"])
        versions = self.pages_of(cast.alice, f"/memory-logs/{self.ids[-1]}/history")

        assert states == [self.ids[:2:-1], self.ids[2:0:-1], self.ids[:1]]
        assert [len(page) for page in versions] == [2, 2]

    def test_rows_beyond_the_page_are_not_read(self, cast: Cast, django_assert_max_num_queries: Any) -> None:
        with django_assert_max_num_queries(2) as queries:
            cast.alice.get("/memory-logs", page_size=500)

        sizes, rows = (query["sql"] for query in queries.captured_queries)
        assert "raw_data" not in sizes.split(" FROM ")[0]
        assert str(self.ids[3]) in rows
        assert str(self.ids[2]) not in rows

    @staticmethod
    def pages_of(actor: Actor, path: str, **query: Any) -> list[list[int]]:
        pages = [actor.get(path, **query).json()]
        while pages[-1]["next"]:
            pages.append(actor.client.get(pages[-1]["next"]).json())
        return [ids_of(page) for page in pages]


def ids_of(page: dict[str, Any]) -> list[int]:
    return [memory["id"] for memory in page["results"]]
