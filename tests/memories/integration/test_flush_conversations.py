"""manage.py flush_conversations: what it saves, what it leaves, and what the memories look like."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from memories.conversations import append, flush
from memories.conversations.checks import minutes_are_valid
from memories.conversations.turns import Post
from memories.models import MemoryLog, MemoryVersion
from memories.models.conversation import BufferedTurn, Conversation, TurnKey
from memories.records.services import delete_memory, update_memory
from memories.records.size import count_values, json_bytes
from memories.search.search import Mode, Query, search
from memories.text import MAX_CHARACTERS, searchable_text
from outbox.models import Event
from outbox.testing import drain
from tests.support.conversations import Chat, flush_all, turns_of
from tests.support.parallel import in_parallel
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["postgres", "redis"])
def buffer(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        request.getfixturevalue("redis_server")
    return str(request.param)


def command(*arguments: str) -> tuple[str, str]:
    """What it prints, and the error it ends with."""
    out = StringIO()
    try:
        call_command("flush_conversations", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), f"{error.returncode}: {error}"
    return out.getvalue(), ""


def text_of(memory: MemoryLog) -> str:
    return searchable_text(task=memory.task, agent=memory.agent, raw_data=memory.raw_data)


def test_a_turn_that_waits_is_no_memory_and_no_event(buffer: str) -> None:
    Chat().say("hello")

    assert not MemoryLog.objects.exists()
    assert not Event.objects.exists()


def test_what_was_idle_is_saved_and_what_goes_on_is_left(buffer: str) -> None:
    chat = Chat()
    chat.say("hello", "anybody?")

    assert json.loads(command("--idle-minutes", "1", "--json")[0])["active"] == 1
    assert chat.memories == []
    told, wrong = command("--idle-minutes", "0")

    assert "1 conversation saved: 2 turns in 1 memory" in told
    assert wrong == ""
    [memory] = chat.memories
    assert (memory.task, memory.agent) == (f"Conversation {chat.name}", "conversation")
    assert {
        name: memory.raw_data[name] for name in ("conversation_id", "part", "first_turn", "last_turn")
    } == {
        "conversation_id": chat.name,
        "part": 1,
        "first_turn": 1,
        "last_turn": 2,
    }
    assert [(turn["seq"], turn["role"], turn["content"]) for turn in turns_of(memory)] == [
        (1, "user", "hello"),
        (2, "user", "anybody?"),
    ]


def test_idle_is_what_the_setting_says_unless_told(buffer: str, settings: Any) -> None:
    chat = Chat()
    chat.say("hello")

    settings.CONVERSATION_IDLE_MINUTES = 1
    command()
    assert chat.saved == []
    settings.CONVERSATION_IDLE_MINUTES = 0
    command()
    assert chat.saved == ["hello"]


def test_nothing_is_saved_twice(buffer: str) -> None:
    chat = Chat()
    chat.say("hello")
    flush_all()

    assert command("--idle-minutes", "0", "--json")[0].strip() == json.dumps(
        {"conversations": 0, "turns": 0, "memories": 0, "lost": 0, "active": 0, "unreachable": 0, "failed": 0}
    )
    assert chat.saved == ["hello"]


def test_many_conversations_are_saved_in_one_transaction_with_an_event_each(buffer: str) -> None:
    chats = [Chat() for _ in range(20)]
    for chat in chats:
        chat.say("one", "two")

    flush_all()

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT xmin::text) FROM memory_logs")
        assert cursor.fetchone() == (20, 1)
    stored = Event.objects.filter(type="memory_log.stored")
    assert set(stored.values_list("aggregateid", flat=True)) == {str(chat.memories[0].id) for chat in chats}
    assert stored.count() == 20


def test_a_saved_conversation_is_found_by_what_was_said_with_its_turns_in_the_metadata(buffer: str) -> None:
    chat = Chat()
    chat.say("My parcel was left in the rain", "The cardboard is soaked")
    other = Chat(chat.tenant)
    other.say("How do I reset the thermostat?")
    flush_all()
    drain()

    [first, *_] = search(Query(text="parcel soaked by rain", tenant=chat.tenant))

    assert first.memory_log_id == chat.memories[0].id
    assert "user: My parcel was left in the rain" in first.document
    place = [
        first.metadata[f"raw_data.{name}"] for name in ("conversation_id", "part", "first_turn", "last_turn")
    ]
    assert place == [chat.name, 1, 1, 2]


def test_a_resumed_conversation_is_a_new_version_of_its_memory(buffer: str) -> None:
    chat = Chat()
    chat.say("My parcel was left in the rain")
    flush_all()
    drain()
    chat.say("It was replaced, thank you")
    flush_all()
    drain()

    [memory] = chat.memories
    assert (memory.version, memory.indexed_version, chat.saved) == (2, 2, chat.contents)
    states = MemoryVersion.objects.filter(pgh_obj=memory.id).order_by("pgh_id")
    assert [(v.version, len(v.raw_data["turns"]), v.raw_data["last_turn"]) for v in states] == [
        (1, 1, 1),
        (2, 2, 2),
    ]
    types = Event.objects.filter(aggregatetype="memory_log").order_by("id").values_list("type", flat=True)
    assert list(types) == ["memory_log.stored", "memory_log.updated"]
    [hit] = search(Query(text="replaced parcel", tenant=chat.tenant))
    assert (hit.metadata["raw_data.first_turn"], hit.metadata["raw_data.last_turn"]) == (1, 2)


def test_a_long_conversation_becomes_parts_and_nothing_of_them_is_cut_off(buffer: str, settings: Any) -> None:
    settings.CONVERSATION_PART_CHARACTERS = 100_000  # more than a text holds
    chat = Chat()
    said = [f"turn {n} " + "word " * 300 for n in range(12)]
    chat.say(*said)

    flush_all()

    memories = chat.memories
    assert [memory.raw_data["part"] for memory in memories] == [1, 2, 3]
    assert [memory.task for memory in memories][1] == f"Conversation {chat.name}, part 2"
    assert [memory.raw_data["first_turn"] for memory in memories] == [
        1,
        *(memory.raw_data["last_turn"] + 1 for memory in memories[:-1]),
    ]
    assert chat.saved == said
    for memory in memories:
        text = text_of(memory)
        assert len(text) < MAX_CHARACTERS
        assert all(" ".join(turn["content"].split()) in text for turn in turns_of(memory))


@pytest.mark.parametrize(("values", "length"), [(400, 1), (2, 3_000)])
def test_turns_with_much_beside_their_words_are_divided_so_that_a_memory_can_hold_them(
    buffer: str, settings: Any, values: int, length: int
) -> None:
    settings.MEMORY_MAX_VALUES, settings.MEMORY_MAX_BYTES = 1_000, 16_000
    chat = Chat()
    for _ in range(2):
        turns = [{"role": "user", "content": "hi", "metadata": ["x" * length] * values} for _ in range(3)]
        append.append(Post(tenant=chat.tenant, conversation_id=chat.name, turns=tuple(turns)))
        flush_all()

    assert len(chat.memories) == 3
    assert len(chat.saved) == 6
    for memory in chat.memories:
        assert count_values(memory.raw_data) <= settings.MEMORY_MAX_VALUES
        assert json_bytes(memory.raw_data) <= settings.MEMORY_MAX_BYTES


def test_a_long_conversation_that_goes_on_grows_its_last_part_only(buffer: str, settings: Any) -> None:
    settings.CONVERSATION_PART_CHARACTERS = 200
    chat = Chat()
    chat.say(*(f"{n} " + "x y " * 20 for n in range(3)))
    flush_all()
    versions = [memory.version for memory in chat.memories]
    chat.say("short", *(f"{n} " + "x y " * 20 for n in range(2)))
    flush_all()

    assert versions == [1, 1]
    assert [memory.version for memory in chat.memories] == [1, 2, 1]
    assert [memory.raw_data["last_turn"] for memory in chat.memories] == [2, 5, 6]
    assert chat.saved == chat.contents


def test_a_turn_longer_than_a_part_is_a_part_of_its_own(buffer: str) -> None:
    chat = Chat()
    chat.say("before", "word " * 4_000, "after")
    flush_all()

    assert [len(turns_of(memory)) for memory in chat.memories] == [1, 1, 1]
    assert len(text_of(chat.memories[1])) > 7_000


def test_a_memory_that_was_deleted_stays_deleted_when_its_conversation_goes_on(buffer: str) -> None:
    chat = Chat()
    chat.say("forget me")
    flush_all()
    delete_memory(chat.memories[0].id)
    chat.say("something else")
    flush_all()

    assert chat.saved == ["something else"]
    assert chat.contents == ["something else"]
    assert chat.memories[0].raw_data["part"] == 2


def test_a_memory_that_was_changed_meanwhile_keeps_the_change(buffer: str) -> None:
    chat = Chat()
    chat.say("one")
    flush_all()
    [memory] = chat.memories
    update_memory(memory.id, {"task": "About one", "raw_data": {**memory.raw_data, "tags": ["numbers"]}})
    chat.say("two")
    flush_all()

    [memory] = chat.memories
    assert (memory.task, memory.raw_data["tags"], chat.saved) == ("About one", ["numbers"], ["one", "two"])


def test_two_flushes_at_once_save_each_turn_once(buffer: str) -> None:
    chats = [Chat() for _ in range(30)]
    for chat in chats:
        chat.say("one", "two")

    outcomes = in_parallel(4, lambda _: flush_all())

    assert sum(outcome.conversations for outcome in outcomes) == 30
    assert [chat.saved for chat in chats] == [["one", "two"]] * 30
    assert all(chat.contents == ["one", "two"] for chat in chats)


def test_a_conversation_whose_time_in_redis_runs_out_before_the_next_two_runs_is_saved(
    redis_server: RedisServer, settings: Any
) -> None:
    settings.CONVERSATION_FLUSH_MINUTES = 5
    soon, later = Chat(), Chat()
    settings.CONVERSATION_TTL_MINUTES = 9
    soon.say("soon")
    settings.CONVERSATION_TTL_MINUTES = 60
    later.say("later")

    flush.flush(idle=timedelta(hours=1))

    assert (soon.saved, later.saved) == (["soon"], [])


def test_each_turn_gives_its_conversation_the_whole_time_again(
    redis_server: RedisServer, settings: Any
) -> None:
    settings.CONVERSATION_TTL_MINUTES = 9
    chat = Chat()
    chat.say("one")
    settings.CONVERSATION_TTL_MINUTES = 60
    chat.say("two")

    flush.flush(idle=timedelta(hours=1))

    assert chat.saved == []


def test_a_block_of_numbers_is_given_back_so_that_none_is_missing(redis_server: RedisServer) -> None:
    chat = Chat()
    for n in range(250):
        chat.say(str(n))
    flush_all()
    chat.say("last")

    assert [turn["seq"] for turn in chat.transcript.turns] == list(range(1, 252))
    assert chat.transcript.gaps == []


def test_idempotency_keys_are_forgotten_a_day_after_the_save(buffer: str) -> None:
    Chat().say("one", key="k")
    flush_all()
    TurnKey.objects.update(created_at=timezone.now() - timedelta(hours=25))

    flush_all()

    assert not TurnKey.objects.exists()


def test_redis_taken_out_of_the_settings_is_told_and_can_be_given_up(
    redis_server: RedisServer, settings: Any
) -> None:
    chat = Chat()
    chat.say("in redis")
    settings.CONVERSATION_REDIS_URL = ""
    chat.say("in postgres")

    _, wrong = command("--idle-minutes", "0")
    assert wrong.startswith("1: 1 conversation with turns in Redis")
    assert chat.saved == []
    _, wrong = command("--idle-minutes", "0", "--without-redis")

    assert wrong.startswith("1: 1 conversation lost turns")
    assert chat.saved == ["in postgres"]
    [gap] = chat.transcript.gaps
    assert gap.after_turn == 0
    assert command("--idle-minutes", "0")[1] == ""


@pytest.mark.parametrize("minutes", ["-1", "soon", "inf", "nan"])
def test_minutes_that_are_none_are_refused(minutes: str) -> None:
    with pytest.raises(CommandError, match="not a number of minutes"):
        call_command("flush_conversations", "--idle-minutes", minutes)


def test_a_buffered_turn_is_gone_from_its_table_once_it_is_saved() -> None:
    Chat().say("hello")
    assert BufferedTurn.objects.count() == 1

    flush_all()

    assert BufferedTurn.objects.count() == 0
    assert Conversation.objects.get().saved_turns == 1


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"CONVERSATION_FLUSH_MINUTES": 0}, "memories.E004"),
        ({"CONVERSATION_IDLE_MINUTES": -1}, "memories.E004"),
        ({"CONVERSATION_PART_CHARACTERS": 10}, "memories.E004"),
        ({"CONVERSATION_TTL_MINUTES": 20}, "memories.E005"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: Any, wrong: dict[str, int], check: str) -> None:
    assert minutes_are_valid() == []
    for name, value in wrong.items():
        setattr(settings, name, value)

    assert [message.id for message in minutes_are_valid()] == [check]


def test_a_saved_conversation_is_searched_by_who_said_what_and_nothing_else(buffer: str) -> None:
    chat = Chat()
    chat.say("My parcel was left in the rain")
    flush_all()

    def words(text: str) -> list[int]:
        query = Query(text=text, tenant=chat.tenant, mode=Mode.LEXICAL)
        return [hit.memory_log_id for hit in search(query)]

    [memory] = chat.memories
    assert text_of(memory) == "user: My parcel was left in the rain"
    assert words("parcel in the rain") == [memory.id]
    for bookkeeping in (f"Conversation {chat.name}", "part 1", "first turn", "last_turn", "content", "seq"):
        assert words(bookkeeping) == [], bookkeeping
    update_memory(memory.id, {"task": "A wet part", "raw_data": {**memory.raw_data, "tags": ["logistics"]}})
    assert words("wet part") == words("logistics") == [memory.id]


def test_turns_of_every_shape_are_searched_by_the_text_in_them(buffer: str) -> None:
    chat = Chat()
    turns = (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "function": {"name": "track", "arguments": '{"parcel": "lamp"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "It is in Ghent"}]},
    )
    append.append(Post(tenant=chat.tenant, conversation_id=chat.name, turns=turns))
    flush_all()
    drain()

    [memory] = chat.memories
    assert text_of(memory) == "assistant: track lamp\ntool: It is in Ghent"
    for mode in Mode:
        [hit] = search(Query(text="lamp in Ghent", tenant=chat.tenant, mode=mode))
        assert hit.memory_log_id == memory.id
