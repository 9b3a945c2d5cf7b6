"""POST /memory-logs/search/batch: several questions, each answered apart."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches

from memories.search.search import Mode
from outbox.testing import drain
from tests.support.google_api import GoogleAPI, google_api
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def asked(actor: Actor, *questions: Any) -> list[dict[str, Any]]:
    answer = actor.send("POST", "/memory-logs/search/batch", list(questions))
    assert answer.status_code == 200, answer.content
    answers: list[dict[str, Any]] = answer.json()["answers"]
    return answers


def test_each_question_is_answered_as_if_it_were_asked_alone(cast: Cast) -> None:
    for task in ("Fix the login", "Bake bread", "Feed the cat"):
        cast.alice.remember(task=task, raw_data={"tags": [task[:3]]})
    drain()
    questions = [
        {"query": "login"},
        {"query": "bread", "mode": "vector", "limit": 1},
        {"query": "cat", "mode": "lexical", "include": ["raw_data"]},
        {"query": "login", "filter": {"tags": "Fee"}},
    ]

    answers = asked(cast.alice, *questions)

    alone = [cast.alice.send("POST", "/memory-logs/search", question) for question in questions]
    assert [answer["results"] for answer in answers] == [answer.json() for answer in alone]
    assert [answer["backend"] for answer in answers] == ["chroma", "chroma", "", "chroma"]


def test_a_wrong_question_is_refused_apart_and_by_its_place(cast: Cast) -> None:
    cast.alice.remember()

    wrong, right, foreign, nothing = asked(
        cast.alice,
        {"query": "login", "limit": 0, "filter": {"agnt": 1}},
        {"query": "login"},
        {"query": "login", "user_id": cast.charlie.tenant.user_id},
        5,
    )

    assert {error["pointer"] for error in wrong["problem"]["errors"]} == {"/limit", "/filter/agnt"}
    assert len(right["results"]) == 1
    assert foreign["problem"]["type"] == "urn:semantix:problem:permission-denied"
    assert nothing["problem"]["status"] == 400


@pytest.mark.parametrize("body", [{}, {"query": "login"}, [], [{"query": "login"}] * 33])
def test_a_batch_is_a_list_of_1_to_32_questions(cast: Cast, body: Any) -> None:
    refused = cast.alice.send("POST", "/memory-logs/search/batch", body)

    assert refused.status_code == 400
    assert "1 to 32" in refused.json()["detail"]


def test_a_batch_counts_as_its_questions(cast: Cast, settings: Any) -> None:
    caches["throttle"].clear()
    settings.THROTTLE_RATE = "5/min"

    def status(questions: int) -> int:
        body = [{"query": "login"}] * questions
        return int(cast.alice.send("POST", "/memory-logs/search/batch", body).status_code)

    assert status(6) == 400, "the rate never allows so many"
    assert [status(3), status(3), status(1), status(1)] == [200, 429, 429, 429]


@pytest.fixture
def google(settings: Any) -> Iterator[GoogleAPI]:
    """The paid embedder, without a cache that would hide a call."""
    settings.EMBEDDING_BACKEND, settings.GOOGLE_API_KEY = "google", "a-key"
    settings.EMBEDDING_CACHE_ENABLED = False
    with google_api() as api:
        settings.GOOGLE_API_ENDPOINT = api.url
        yield api


QUESTIONS = [{"query": "login"}, {"query": "bread"}, {"query": "cat", "mode": Mode.VECTOR}]


def test_all_questions_are_embedded_in_one_call(cast: Cast, google: GoogleAPI) -> None:
    cast.alice.remember()
    drain()
    google.requests.clear()

    answers = asked(cast.alice, *QUESTIONS, {"query": "bread", "mode": Mode.LEXICAL})

    [request] = google.requests
    assert len(request["requests"]) == 3
    assert [len(answer["results"]) for answer in answers] == [1, 1, 1, 0]


def test_while_the_embedder_is_away_words_answer_and_it_is_asked_once(cast: Cast, google: GoogleAPI) -> None:
    cast.alice.remember(task="Fix the login for the cat")
    drain()
    google.fails_with(503)
    google.requests.clear()

    login, _bread, cat = asked(cast.alice, *QUESTIONS)

    assert len(google.requests) == 1
    assert len(login["results"]) == 1
    assert cat["problem"]["status"] == 503
