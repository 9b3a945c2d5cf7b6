"""DELETE /conversations/{id}: waiting turns in both buffers, saved memories with their events, keys and gaps."""

from pathlib import Path
from typing import Any

import pytest

from memories.conversations import erase
from memories.conversations.buffers import failover
from memories.conversations.buffers.redis import key_of
from memories.models import MemoryLog
from memories.models.conversation import (
    BufferedTurn,
    BufferFailover,
    Conversation,
    ConversationChunk,
    ConversationGap,
    TurnKey,
)
from memories.search.search import Query, search
from outbox.models import Event
from outbox.testing import drain
from tests.support.conversations import Chat, flush_all
from tests.support.parallel import in_parallel
from tests.support.redis_server import RedisServer
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)

KEPT_OF_A_CONVERSATION = (BufferedTurn, ConversationChunk, ConversationGap, TurnKey)


@pytest.fixture(params=["postgres", "redis"])
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def delete(who: Actor, chat: Chat) -> Any:
    user_id, project_id = chat.tenant
    return who.client.delete(f"/conversations/{chat.name}?user_id={user_id}&project_id={project_id}")


def test_everything_of_the_conversation_is_deleted_and_nothing_else(cast: Cast, buffer: str) -> None:
    chat, other = Chat(cast.alice.tenant), Chat(cast.alice.tenant)
    for each in (chat, other):
        each.say("saved", key="k1")
    flush_all()
    for each in (chat, other):
        each.say("waits", key="k2")
    ConversationGap.objects.create(
        conversation=chat.row, after_turn=7, before_turn=9, at_least=1, reason="evicted"
    )
    memory, row = chat.memories[0], chat.row

    answer = delete(cast.alice, chat)

    assert (answer.status_code, answer.content) == (204, b"")
    assert list(Conversation.objects.all()) == [other.row]
    assert [kept.objects.filter(conversation_id=row.id).count() for kept in KEPT_OF_A_CONVERSATION] == [0] * 4
    assert not MemoryLog.objects.filter(id=memory.id).exists()
    types = Event.objects.filter(aggregatetype="memory_log", aggregateid=str(memory.id)).order_by("id")
    assert list(types.values_list("type", flat=True)) == ["memory_log.stored", "memory_log.deleted"]
    assert other.contents == ["saved", "waits"]
    assert delete(cast.alice, chat).status_code == 404


def test_redis_holds_nothing_of_it(cast: Cast, redis_server: RedisServer) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("waits", key="k")

    delete(cast.alice, chat)

    assert redis_server.client.keys(key_of(chat.tenant, chat.name)) == []


def test_it_is_no_longer_found(cast: Cast, buffer: str) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("The parcel was left in the rain")
    flush_all()
    drain()
    query = Query(text="parcel in the rain", tenant=chat.tenant)
    assert len(search(query)) == 1

    delete(cast.alice, chat)
    drain()

    assert search(query) == []


def test_a_later_turn_begins_a_new_conversation(cast: Cast, buffer: str) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("old", key="k")
    delete(cast.alice, chat)

    taken = chat.say("new", key="k")

    assert (taken.receipt.first, taken.receipt.replayed, chat.contents) == (1, False, ["new"])
    flush_all()
    assert chat.saved == ["new"]


def test_turns_that_come_meanwhile_are_deleted_or_begin_a_new_conversation(buffer: str) -> None:
    chat = Chat()
    chat.say("before")
    row = chat.row

    def act(number: int) -> None:
        if number == 0:
            erase.delete(row)
        else:
            chat.say(f"meanwhile {number}")

    in_parallel(5, act)
    chat.say("after")

    numbers = [turn["seq"] for turn in chat.transcript.turns]
    assert numbers == sorted(set(numbers))
    assert (chat.contents[-1], "before" in chat.contents) == ("after", False)
    flush_all()
    assert chat.saved == chat.contents
    assert chat.transcript.gaps == []


def test_others_cannot_delete_it(cast: Cast, buffer: str) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("hers")

    assert {delete(other, chat).status_code for other in (cast.bob, cast.charlie)} == {403}
    unnamed = [other.client.delete(f"/conversations/{chat.name}") for other in (cast.bob, cast.charlie)]
    assert {answer.status_code for answer in unnamed} == {404}  # their keys name their own tenants
    assert chat.contents == ["hers"]


def test_a_key_names_the_tenant_of_the_conversation_to_delete(cast: Cast, buffer: str) -> None:
    chat = Chat(cast.alice.tenant)
    chat.say("hers")

    assert cast.alice.client.delete(f"/conversations/{chat.name}").status_code == 204
    assert chat.memories == []


def test_without_redis_turns_that_wait_there_are_told_and_nothing_is_deleted(
    cast: Cast, tmp_path: Path, settings: Any
) -> None:
    chat, saved = Chat(cast.alice.tenant), Chat(cast.alice.tenant)
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        settings.CONVERSATION_REDIS_URL = server.url
        failover.end_pause()
        for each in (chat, saved):
            each.say("saved")
        flush_all()
        chat.say("waits in Redis")
        server.stop()
        chat.say("waits in PostgreSQL")

        answer = delete(cast.alice, chat)
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert (len(chat.memories), BufferedTurn.objects.count()) == (2, 1)
        assert delete(cast.alice, saved).status_code == 204

        server.start()
        failover.end_pause()
        assert delete(cast.alice, chat).status_code == 204
        assert (chat.memories, BufferedTurn.objects.count()) == ([], 0)
    failover.end_pause()


def test_an_older_state_of_redis_brings_nothing_back(cast: Cast, redis_server: RedisServer) -> None:
    """As after a crash of Redis that lost the last second."""
    chat = Chat(cast.alice.tenant)
    chat.say("deleted", key="k")
    key = key_of(chat.tenant, chat.name)
    older = redis_server.client.hgetall(key)
    delete(cast.alice, chat)
    redis_server.client.hset(key, mapping=older)
    BufferFailover.objects.update(redis_run_id="of the server before its restart")
    redis_server.client.delete(failover.LEASE)

    chat.say("new", key="k")

    assert chat.contents == ["new"]
    flush_all()
    assert chat.saved == ["new"]
