"""A conversation that cannot be saved is set aside alone: the others are saved, and it is tried again later."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from memories.conversations import flush
from memories.conversations.buffers.redis import key_of
from memories.records.services import update_memory
from tests.support.conversations import Chat, flush_all, refused_by_postgres
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["postgres", "redis"])
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def retry_now(chat: Chat) -> None:
    type(chat.row).objects.filter(id=chat.row.id).update(save_retry_at=timezone.now())


@pytest.mark.parametrize(
    "raw_data",
    [
        {"turns": [{"role": "user", "content": "edited"}]},
        {"turns": [{"seq": "one"}, "not a turn", None]},
        {"turns": "a summary of what was said"},
        {"turns": []},
        {"summary": "no turns at all"},
        {},
    ],
)
def test_the_next_turn_is_saved_after_an_owner_changed_the_memory(
    buffer: str, raw_data: dict[str, Any]
) -> None:
    chat, other = Chat(), Chat()
    chat.say("one")
    flush_all()
    update_memory(chat.memories[0].id, {"raw_data": raw_data})
    chat.say("two")
    other.say("hello")

    outcome = flush_all()

    assert (outcome.conversations, outcome.failed) == (2, 0)
    assert other.saved == ["hello"]
    [memory] = chat.memories
    kept = raw_data.get("turns")
    assert memory.raw_data["turns"][:-1] == (kept if isinstance(kept, list) else [])
    assert (memory.raw_data["turns"][-1]["content"], memory.raw_data["last_turn"]) == ("two", 2)
    assert {name: memory.raw_data[name] for name in raw_data if name != "turns"} == {
        name: value for name, value in raw_data.items() if name != "turns"
    }
    assert chat.contents[-1] == "two"


def test_a_conversation_that_cannot_be_saved_is_set_aside_and_the_others_are_saved(buffer: str) -> None:
    failing, *others = chats = [Chat() for _ in range(5)]
    for chat in chats:
        chat.say("one", "two")

    with refused_by_postgres(failing):
        outcome = flush_all()

    assert (outcome.conversations, outcome.failed) == (4, 1)
    assert [chat.saved for chat in others] == [["one", "two"]] * 4
    assert (failing.saved, failing.contents) == ([], ["one", "two"])
    row = failing.row
    assert row.save_failures == 1
    assert "no room for memory logs of" in row.save_error
    assert timedelta() < row.save_retry_at - timezone.now() <= timedelta(minutes=1)


def test_it_is_tried_again_only_when_its_time_has_come_and_waits_longer_each_time(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    waits = []

    with refused_by_postgres(chat):
        flush_all()
        assert (flush_all().failed, chat.row.save_failures) == (1, 1)
        for _ in range(9):
            waits.append((chat.row.save_retry_at - timezone.now()) / timedelta(minutes=1))
            retry_now(chat)
            flush_all()

    assert [round(minutes) for minutes in waits] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert chat.row.save_failures == 10


def test_it_is_saved_when_the_cause_is_gone_and_the_failure_is_forgotten(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    with refused_by_postgres(chat):
        flush_all()
    chat.say("two")
    retry_now(chat)

    outcome = flush_all()

    assert (outcome.conversations, outcome.failed, chat.saved) == (1, 0, ["one", "two"])
    assert (chat.row.save_failures, chat.row.save_error, chat.row.save_retry_at) == (0, "", None)


def test_closing_it_tries_at_once_and_tells_the_reason(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    with refused_by_postgres(chat):
        flush_all()
        with pytest.raises(DatabaseError, match="no room for memory logs"):
            flush.close(chat.row)
        assert chat.row.save_failures == 2

    assert flush.close(chat.row).conversations == 1
    assert (chat.saved, chat.row.save_retry_at) == (["one"], None)


def test_the_command_names_the_number_and_ends_with_an_error(
    buffer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = Chat()
    chat.say("one")

    with (
        refused_by_postgres(chat),
        pytest.raises(CommandError, match=r"1 conversation could not be saved") as error,
    ):
        call_command("flush_conversations", "--idle-minutes", "0", "--json")

    assert error.value.returncode == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


def test_the_admin_shows_the_error_and_saves_the_others(buffer: str) -> None:
    failing, other = Chat(), Chat()
    failing.say("one")
    other.say("two")
    admin = Client()
    admin.force_login(User.objects.create_superuser("root"))
    chosen = {"action": "save_now", "_selected_action": [failing.row.id, other.row.id]}

    with refused_by_postgres(failing):
        answer = admin.post("/admin/memories/conversation/", chosen, follow=True).content.decode()

    assert f"Conversation {failing.name} was not saved: no room for memory logs" in answer
    assert "1 turn saved." in answer
    shown = admin.get("/admin/memories/conversation/?save_retry_at__isempty=0").content.decode()
    assert (failing.name in shown, other.name in shown) == (True, False)
    page = admin.get(f"/admin/memories/conversation/{failing.row.id}/change/").content.decode()
    assert "no room for memory logs" in page


def test_redis_keeps_a_conversation_that_is_set_aside(redis_server: RedisServer) -> None:
    chat = Chat()
    chat.say("one")
    key = key_of(chat.tenant, chat.name)
    with refused_by_postgres(chat):
        flush_all()
    redis_server.client.pexpire(key, 1_000)

    flush_all()  # its next try is not due yet

    assert redis_server.client.pttl(key) > 60_000


@pytest.mark.parametrize("damage", ["a field that is not JSON", "a key of another type"])
def test_a_damaged_hash_in_redis_stops_only_its_own_conversation(
    redis_server: RedisServer, damage: str
) -> None:
    chat, other = Chat(), Chat()
    chat.say("one")
    other.say("hello")
    key = key_of(chat.tenant, chat.name)
    if damage == "a field that is not JSON":
        redis_server.client.hset(key, "1", "{")
    else:
        redis_server.client.delete(key)
        redis_server.client.rpush(key, "not a hash")

    outcome = flush_all()

    assert (outcome.failed, outcome.unreachable, other.saved) == (1, 0, ["hello"])
    assert chat.row.save_failures == 1
    assert other.say("more").buffer == "redis"


def test_a_postgres_that_goes_away_sets_nothing_aside(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        cursor.execute(
            "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM pg_terminate_backend({pid}); RETURN NEW; END $$; "
            "CREATE TRIGGER go_away BEFORE INSERT ON memory_logs FOR EACH ROW EXECUTE FUNCTION go_away()"
        )

    with pytest.raises(DatabaseError):
        flush_all()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER go_away ON memory_logs; DROP FUNCTION go_away()")

    assert chat.row.save_failures == 0
    flush_all()
    assert chat.saved == ["one"]
