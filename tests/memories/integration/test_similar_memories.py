"""`duplicate_of`, and `if_similar`: agents that repeat themselves."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memories.models import MemoryLog
from memories.models.base import ContentKey
from memories.records.services import NewMemory, create_memory
from memories.search import similar
from outbox.models import Event
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = {"task": "Fix the login redirect", "raw_data": {"solution": "Keep the cookie behind the proxy"}}
NEARLY = {"task": "Fix the login redirects", "raw_data": {"solution": "Keep the cookie behind the proxy"}}
BREAD = {"task": "Bake sourdough bread", "raw_data": {"solution": "Feed the starter twice"}}


def store(actor: Actor, query: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    return actor.send("POST", f"/memory-logs?{query}", actor.memory(**more), **headers or {})


class TestDuplicates:
    def test_the_same_content_is_told_in_every_answer(self, cast: Cast) -> None:
        first, second = cast.alice.remember(**LOGIN), cast.alice.remember(**LOGIN, date="2020-02-29")

        assert (first["duplicate_of"], second["duplicate_of"]) == (None, first["id"])
        assert cast.alice.get(f"/memory-logs/{second['id']}").json()["duplicate_of"] == first["id"]

    def test_the_same_text_of_other_content_is_no_duplicate(self, cast: Cast) -> None:
        cast.alice.remember(task="Fix it", raw_data={"trace": "0af7651916cd43dd8448eb211c80319c"})

        assert cast.alice.remember(task="Fix it", raw_data={"trace": "0" * 32})["duplicate_of"] is None
        assert cast.alice.remember(task="Fix it")["duplicate_of"] is None

    def test_another_tenants_memory_and_an_expired_one_are_no_duplicates(self, cast: Cast) -> None:
        gone = timezone.now() - timedelta(seconds=1)
        create_memory(NewMemory(**cast.alice.tenant._asdict(), agent="coder", expires_at=gone, **LOGIN))
        cast.bob.remember(**LOGIN)
        cast.charlie.remember(**LOGIN)

        assert cast.alice.remember(**LOGIN)["duplicate_of"] is None

    def test_a_batch_tells_them_too(self, cast: Cast) -> None:
        first = cast.alice.remember(**LOGIN)

        [second, _] = cast.alice.send(
            "POST", "/memory-logs/batch", [cast.alice.memory(**LOGIN), cast.alice.memory(**BREAD)]
        ).json()["ids"]

        assert cast.alice.get(f"/memory-logs/{second}").json()["duplicate_of"] == first["id"]


class TestIfSimilar:
    def test_skip_answers_the_same_text_at_once_and_stores_nothing(self, cast: Cast) -> None:
        stored = cast.alice.remember(**LOGIN)

        answer = store(cast.alice, "if_similar=skip", **LOGIN)

        assert (answer.status_code, answer.json()) == (200, stored)
        assert answer["Location"] == f"/memory-logs/{stored['id']}"
        assert MemoryLog.objects.count() == Event.objects.filter(aggregatetype="memory_log").count() == 1

    def test_skip_finds_nearly_the_same_once_it_is_embedded(self, cast: Cast) -> None:
        stored = cast.alice.remember(**LOGIN)
        drain()

        assert store(cast.alice, "if_similar=skip&min_similarity=0.8", **NEARLY).json()["id"] == stored["id"]
        assert store(cast.alice, "if_similar=skip&min_similarity=1", **NEARLY).status_code == 201
        assert store(cast.alice, "if_similar=skip&min_similarity=0.8", **BREAD).status_code == 201

    def test_link_stores_the_memory_and_names_the_similar_one(self, cast: Cast) -> None:
        stored = cast.alice.remember(**LOGIN)
        drain()

        linked = store(cast.alice, "if_similar=link&min_similarity=0.8", **NEARLY)
        alone = store(cast.alice, "if_similar=link", **BREAD)

        assert (linked.status_code, linked.json()["similar_to"]) == (201, stored["id"])
        assert cast.alice.get(linked["Location"]).json()["similar_to"] == stored["id"]
        assert alone.json()["similar_to"] is None

    def test_a_neighbours_memory_is_not_similar(self, cast: Cast) -> None:
        cast.bob.remember(**LOGIN)
        drain()

        assert store(cast.alice, "if_similar=skip&min_similarity=0", **LOGIN).status_code == 201

    def test_while_the_embedder_is_unavailable_the_memory_is_stored(self, cast: Cast, settings: Any) -> None:
        settings.EMBEDDING_BACKEND = "tests.memories.integration.test_search_modes.AwayToQuestions"
        cast.alice.remember(**LOGIN)
        drain()

        assert store(cast.alice, "if_similar=skip&min_similarity=0.5", **NEARLY).status_code == 201
        assert store(cast.alice, "if_similar=skip", **LOGIN).status_code == 200

    def test_a_skip_under_an_idempotency_key_is_answered_again(self, cast: Cast) -> None:
        cast.alice.remember(**LOGIN)

        first = store(cast.alice, "if_similar=skip", {"Idempotency-Key": "one"}, **LOGIN)
        again = store(cast.alice, "if_similar=skip", {"Idempotency-Key": "one"}, **LOGIN)
        other = store(cast.alice, "if_similar=link", {"Idempotency-Key": "one"}, **LOGIN)

        assert (first.status_code, again.content) == (200, first.content)
        assert again["Idempotency-Replayed"] == "true"
        assert other.status_code == 422

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("if_similar=drop", "/if_similar"),
            ("if_similar=skip&min_similarity=2", "/min_similarity"),
            ("if_simlar=skip", "/if_simlar"),
        ],
    )
    def test_what_cannot_be_asked_is_refused_by_name(self, cast: Cast, query: str, pointer: str) -> None:
        answer = store(cast.alice, query)

        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_the_key_of_a_text_is_the_same_in_python_and_in_sql(cast: Cast) -> None:
    cast.alice.remember(**LOGIN)
    row = MemoryLog.objects.annotate(key=ContentKey()).get()

    text = similar.searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)

    assert row.key == similar._key(row.tenant, text)  # type: ignore[attr-defined]  # noqa: SLF001
