"""Redis stops, stands still, forgets or restarts: no acknowledged turn is lost unseen, none is there twice."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from memories.conversations.buffers import failover
from memories.conversations.buffers.redis import RedisBuffer, key_of
from memories.conversations.checks import redis_keeps_turns
from memories.conversations.flush import flush
from memories.conversations.turns import Post, Receipt
from memories.models.conversation import BufferFailover, ConversationGap
from tests.support.conversations import Chat, flush_all
from tests.support.parallel import in_parallel
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis to be ill-treated, which writes everything down at once; turns go back to it soon."""
    monkeypatch.setattr(failover, "PAUSE_SECONDS", 0.3)
    settings.CONVERSATION_REDIS_TIMEOUT_SECONDS = 3.0  # a busy machine is not to look like a frozen Redis
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        settings.CONVERSATION_REDIS_URL = server.url
        failover.end_pause()
        yield server
        failover.end_pause()


def say_until_back(chat: Chat, said: list[str]) -> None:
    """Talk on until Redis takes the turns again."""

    def back() -> bool:
        said.append(f"turn {len(said)}")
        return not chat.say(said[-1]).degraded

    wait_until(back)


def key(chat: Chat) -> str:
    return key_of(chat.tenant, chat.name)


def in_order(chat: Chat) -> bool:
    numbers = [turn["seq"] for turn in chat.transcript.turns]
    return numbers == sorted(set(numbers))


def test_turns_go_to_postgres_while_redis_is_away_and_back_by_themselves(server: RedisServer) -> None:
    chat = Chat()
    said = ["before"]
    chat.say("before")
    server.stop()

    said.append("during")
    taken = chat.say("during")
    assert (taken.buffer, taken.degraded) == ("postgres", True)
    server.start()
    say_until_back(chat, said)

    assert chat.contents == said
    assert in_order(chat)
    flush_all()
    assert chat.saved == said
    assert chat.transcript.gaps == []


def test_a_new_conversation_can_begin_while_redis_is_away(server: RedisServer) -> None:
    server.stop()
    chat = Chat()

    assert chat.say("hello").receipt.first == 1
    assert (chat.contents, chat.transcript.complete) == (["hello"], True)


def test_what_waits_in_redis_is_not_saved_out_of_order_while_it_is_away(server: RedisServer) -> None:
    chat, other = Chat(), Chat()
    chat.say("one")
    server.stop()
    chat.say("two")
    other.say("elsewhere")

    outcome = flush_all()

    assert (outcome.unreachable, chat.saved, other.saved) == (1, [], ["elsewhere"])
    assert (chat.contents, chat.transcript.complete) == (["two"], False)
    server.start()
    flush_all()
    assert chat.saved == ["one", "two"]


def test_one_request_waits_for_a_frozen_redis_and_the_others_do_not(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = [Chat() for _ in range(4)]
    os.kill(server.process.pid, signal.SIGSTOP)
    assert chats[0].say("one").degraded
    wait_until(lambda: not failover.is_paused())
    monkeypatch.setattr(failover, "PAUSE_SECONDS", 60.0)
    take, asked = RedisBuffer.append, []

    def noted(buffer: RedisBuffer, post: Post) -> Receipt:
        asked.append(post)
        return take(buffer, post)

    monkeypatch.setattr(RedisBuffer, "append", noted)
    taken = in_parallel(4, lambda number: chats[number].say("two"))
    os.kill(server.process.pid, signal.SIGCONT)

    assert len(asked) == 1
    assert all(each.degraded for each in taken)
    failover.end_pause()
    say_until_back(chats[0], ["one", "two"])
    assert not chats[1].say("three").degraded


def test_what_a_frozen_redis_finds_waiting_when_it_goes_on_comes_too_late(server: RedisServer) -> None:
    chat = Chat()
    chat.say("one")
    os.kill(server.process.pid, signal.SIGSTOP)  # its socket still takes commands

    taken = chat.say("two")
    os.kill(server.process.pid, signal.SIGCONT)

    assert taken.buffer == "postgres"
    assert chat.contents == ["one", "two"]
    assert "two" not in str(server.client.hgetall(key(chat)))
    flush_all()
    assert chat.saved == ["one", "two"]


def test_a_turn_whose_answer_was_lost_is_there_once(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat()
    chat.say("one")
    take = RedisBuffer.append

    def take_and_never_tell(self: RedisBuffer, post: Any) -> Any:
        take(self, post)
        os.kill(server.process.pid, signal.SIGSTOP)
        return take(self, chat.post("never read"))

    monkeypatch.setattr(RedisBuffer, "append", take_and_never_tell)
    taken = chat.say("two")
    monkeypatch.undo()
    os.kill(server.process.pid, signal.SIGCONT)

    assert taken.buffer == "postgres"
    assert "two" in str(server.client.hgetall(key(chat)))
    assert chat.contents == ["one", "two"]
    flush_all()
    assert chat.saved == ["one", "two"]


def test_a_request_sent_again_after_redis_came_back_is_taken_once(server: RedisServer) -> None:
    chat = Chat()
    chat.say("one")
    server.stop()
    first = chat.say("two", key="k")
    server.start()
    said = ["one", "two"]
    say_until_back(chat, said)

    again = chat.say("two", key="k")

    assert (again.receipt.numbers, again.receipt.replayed) == (first.receipt.numbers, True)
    assert chat.contents == said


def test_a_process_that_never_saw_the_outage_writes_after_those_who_did(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "PAUSE_SECONDS", 60)
    chat = Chat()
    chat.say("one")
    failover.fail_over("another process cannot reach it")
    chat.say("two")
    failover.end_pause()  # as in a process that knows nothing of it

    with pytest.raises(failover.FailedOver):
        RedisBuffer().append(chat.post("not taken"))
    BufferFailover.objects.update(retry_at=timezone.now())
    failover.end_pause()
    taken = chat.say("three")

    assert taken.buffer == "redis"
    assert chat.contents == ["one", "two", "three"]
    assert in_order(chat)


def test_a_process_that_still_leaves_redis_alone_does_not_write_beside_those_who_are_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat()
    chat.say("one")
    failover.fail_over("this process cannot reach it")
    # The others' pause is over.
    BufferFailover.objects.update(failed_over_at=None)
    paused = failover.Pause(float("inf"), BufferFailover.objects.get().generation)
    failover.end_pause()
    chat.say("two")

    monkeypatch.setattr(failover, "_pause", paused)
    taken = chat.say("three")

    assert taken.buffer == "redis"
    assert chat.contents == ["one", "two", "three"]
    assert in_order(chat)


def test_a_loss_is_noticed_by_the_next_turn(server: RedisServer) -> None:
    chat = Chat()
    chat.say("saved")
    flush_all()
    chat.say("lost", "lost, too")
    server.client.delete(key(chat))  # as eviction does

    after = chat.say("after")

    [gap] = chat.transcript.gaps
    assert (gap.after_turn, gap.before_turn) == (1, after.receipt.first)
    assert after.receipt.first > 3, "a number that was given is not given again"
    assert chat.contents == ["saved", "after"]
    flush_all()
    assert chat.saved == ["saved", "after"]


def test_a_loss_is_noticed_by_the_next_flush_and_counted_as_far_as_it_was_seen(server: RedisServer) -> None:
    chat = Chat()
    chat.say("lost", "lost, too")
    flush(idle=timedelta(hours=1))  # sees two
    server.client.flushall()

    assert flush_all().lost == 1
    [gap] = chat.transcript.gaps
    assert (gap.after_turn, gap.at_least) == (0, 2)
    assert flush_all().lost == 0
    assert ConversationGap.objects.count() == 1
    assert chat.say("after").receipt.first > 2


def test_an_older_state_of_redis_is_noticed(server: RedisServer) -> None:
    chat = Chat()
    chat.say("one")
    older = server.client.hgetall(key(chat))
    chat.say("two")
    flush(idle=timedelta(hours=1))
    server.client.delete(key(chat))
    server.client.hset(key(chat), mapping=older)

    flush(idle=timedelta(hours=1))

    [gap] = chat.transcript.gaps
    assert (gap.at_least, chat.saved) == (1, ["one"])


def test_numbers_of_a_redis_that_was_started_anew_are_not_given_again(
    server: RedisServer, settings: Any
) -> None:
    chat = Chat()
    chat.say("one", "two")
    server.stop()
    server.start()
    server.client.delete(failover.LEASE)

    taken = chat.say("three")

    assert taken.receipt.first > 2
    assert chat.contents == ["one", "two", "three"]
    assert chat.transcript.gaps == []


def test_the_first_turns_of_all_may_come_at_the_same_time(server: RedisServer) -> None:
    for _ in range(10):
        BufferFailover.objects.all().delete()
        server.client.flushall()
        taken = in_parallel(6, lambda _: Chat().say("hello"))
        assert {(one.buffer, one.receipt.first) for one in taken} == {("redis", 1)}


def test_a_full_redis_sends_turns_to_postgres(server: RedisServer) -> None:
    chat = Chat()
    chat.say("one")
    server.client.config_set("maxmemory", "1mb")

    taken = chat.say("two")

    assert (taken.buffer, taken.degraded) == ("postgres", True)
    server.client.config_set("maxmemory", "0")
    assert chat.contents == ["one", "two"]


def test_check_deploy_warns_of_a_redis_that_throws_away_or_forgets(server: RedisServer) -> None:
    assert redis_keeps_turns() == []
    server.client.config_set("maxmemory", "100mb")
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    server.client.config_set("appendonly", "no")
    assert [message.id for message in redis_keeps_turns()] == ["memories.W001", "memories.W002"]
    server.stop()
    assert [message.id for message in redis_keeps_turns()] == ["memories.W003"]
