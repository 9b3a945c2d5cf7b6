"""POST /conversations/turns/search: turns that wait in a buffer are found by their words."""

from pathlib import Path
from typing import Any

import pytest

from memories.conversations.buffers import failover
from memories.conversations.buffers.redis import key_of
from memories.conversations.search import MOST, search
from tests.support.conversations import Chat, flush_all
from tests.support.redis_server import RedisServer
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["postgres", "redis"])
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def ask(who: Actor, query: str, **more: Any) -> Any:
    return who.send("POST", "/conversations/turns/search", {**who.tenant._asdict(), "query": query, **more})


def found(who: Actor, query: str, **more: Any) -> list[str]:
    return [hit["turn"]["content"] for hit in ask(who, query, **more).json()["results"]]


def test_a_waiting_turn_is_found_by_its_words(cast: Cast, buffer: str) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("My parcel was left in the rain", "The carrier has yellow vans")

    answer = ask(cast.alice, "Which parcels were in rain?")

    assert answer.status_code == 200
    [hit] = answer.json()["results"]
    assert (hit["conversation_id"], hit["turn"]["seq"]) == (chat.name, 1)
    assert hit["turn"] == chat.transcript.turns[0]
    assert hit["text"] == "user: My parcel was left in the rain"
    assert hit["score"] > 0
    assert answer.json()["complete"] is True


def test_the_turn_with_more_and_rarer_words_comes_first(cast: Cast, buffer: str) -> None:
    for chat, said in ((Chat(cast.alice.tenant), f"the parcel number {n}") for n in range(20)):
        chat.say(said)
    Chat(cast.alice.tenant).say("the parcel with the lamp")

    assert found(cast.alice, "parcel lamp", limit=2)[0] == "the parcel with the lamp"
    assert len(found(cast.alice, "parcel lamp", limit=2)) == 2


def test_of_equal_turns_the_newest_comes_first(cast: Cast, buffer: str) -> None:
    one, other = Chat(cast.alice.tenant), Chat(cast.alice.tenant)
    one.say("parcel one")
    other.say("parcel two")

    assert found(cast.alice, "parcel") == ["parcel two", "parcel one"]


def test_a_turn_is_found_here_until_it_is_saved(cast: Cast, buffer: str) -> None:
    Chat(cast.alice.tenant).say("the parcel")
    assert found(cast.alice, "parcel") == ["the parcel"]

    flush_all()

    assert found(cast.alice, "parcel") == []


def test_turns_of_others_are_neither_found_nor_searched(cast: Cast, buffer: str) -> None:
    Chat(cast.bob.tenant).say("the parcel")

    assert found(cast.alice, "parcel") == []
    assert ask(cast.alice, "parcel", **cast.bob.tenant._asdict()).status_code == 403


@pytest.mark.parametrize("query", ["the of", "?!", "zebra"])
def test_a_query_without_a_known_word_finds_nothing(cast: Cast, buffer: str, query: str) -> None:
    Chat(cast.alice.tenant).say("the parcel")
    assert found(cast.alice, query) == []


def test_no_more_than_the_newest_turns_are_searched(buffer: str) -> None:
    chat = Chat()
    chat.say("the oldest parcel")
    for start in range(0, MOST, 500):
        chat.say(*(f"word {n}" for n in range(start, start + 500)))
    chat.say("the newest parcel")

    hits = search(chat.tenant, "parcel").hits

    assert [hit.turn["content"] for hit in hits] == ["the newest parcel"]


@pytest.mark.parametrize(
    ("body", "pointer"), [({"query": ""}, "/query"), ({"limit": 101}, "/limit"), ({"lmit": 1}, "/lmit")]
)
def test_what_is_no_search_is_refused_by_its_place(cast: Cast, body: dict[str, Any], pointer: str) -> None:
    answer = ask(cast.alice, **({"query": "parcel"} | body))

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


def test_a_redis_that_is_away_is_told(cast: Cast, tmp_path: Path, settings: Any) -> None:
    with RedisServer(tmp_path) as server:
        settings.CONVERSATION_REDIS_URL = server.url
        failover.end_pause()
        Chat(cast.alice.tenant).say("the parcel in Redis")
    chat = Chat(cast.alice.tenant)
    chat.say("the parcel in PostgreSQL")

    answer = ask(cast.alice, "parcel").json()

    assert ([hit["conversation_id"] for hit in answer["results"]], answer["complete"]) == ([chat.name], False)
    failover.end_pause()


def test_a_damaged_hash_in_redis_hides_only_its_own_turns(cast: Cast, redis_server: RedisServer) -> None:
    damaged, of_another_type, good = chats = [Chat(cast.alice.tenant) for _ in range(3)]
    for chat in chats:
        chat.say("the parcel")
    redis_server.client.hset(key_of(damaged.tenant, damaged.name), "1", "{")
    redis_server.client.delete(key_of(of_another_type.tenant, of_another_type.name))
    redis_server.client.rpush(key_of(of_another_type.tenant, of_another_type.name), "no hash")

    [hit] = ask(cast.alice, "parcel").json()["results"]

    assert hit["conversation_id"] == good.name
