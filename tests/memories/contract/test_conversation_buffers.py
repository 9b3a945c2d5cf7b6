"""What holds of every buffer of turns, whoever keeps them."""

from typing import Any

import pytest

from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.protocol import Buffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.turns import KeyReused
from memories.models.conversation import Conversation
from tests.support.conversations import Chat, flush_all, refused_by_postgres
from tests.support.parallel import in_parallel

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[PostgresBuffer, RedisBuffer])
def buffer(request: pytest.FixtureRequest) -> Buffer:
    if request.param is RedisBuffer:
        request.getfixturevalue("redis_server")
    found: Buffer = request.param()
    return found


def waiting(buffer: Buffer, chat: Chat) -> list[tuple[int, str]]:
    return [
        (turn["seq"], turn["content"])
        for contents in buffer.read([chat.row]).values()
        for turn in contents.turns
    ]


def test_turns_are_numbered_from_one_and_kept_in_order(buffer: Buffer) -> None:
    chat = Chat()

    first = buffer.append(chat.post("hello"))
    more = buffer.append(chat.post("how are you?", "well?"))

    assert [*first.numbers, *more.numbers] == [1, 2, 3]
    assert waiting(buffer, chat) == [(1, "hello"), (2, "how are you?"), (3, "well?")]


def test_what_came_with_a_turn_is_kept_with_it(buffer: Buffer) -> None:
    chat = Chat()
    post = chat.post("größer als 😀")
    post.turns[0]["tool_calls"] = [{"name": "search", "arguments": {"q": None, "n": 1.5, "big": 2**53 - 1}}]

    buffer.append(post)

    [turn] = buffer.read([chat.row])[chat.row.id].turns
    assert turn == {"seq": 1, **post.stamped[0]}


def test_writers_at_the_same_time_get_numbers_of_their_own_without_a_gap(buffer: Buffer) -> None:
    chat = Chat()

    def write(writer: int) -> list[tuple[int, str]]:
        said = [(buffer.append(chat.post(text)), text) for text in (f"{writer}: {n}" for n in range(25))]
        return [(receipt.first, text) for receipt, text in said]

    written = in_parallel(6, write)

    assert [numbers == sorted(numbers) for numbers in written] == [True] * 6
    assert waiting(buffer, chat) == sorted(pair for pairs in written for pair in pairs)
    assert [number for number, _ in waiting(buffer, chat)] == list(range(1, 151))


def test_conversations_of_the_same_name_are_apart_where_their_tenants_are(buffer: Buffer) -> None:
    one, other = Chat(name="standup"), Chat(name="standup")

    assert buffer.append(one.post("hello")).first == 1
    assert buffer.append(other.post("hello")).first == 1


def test_the_same_key_and_turns_are_taken_once(buffer: Buffer) -> None:
    chat = Chat()
    buffer.append(chat.post("before"))

    first = buffer.append(chat.post("one", "two", key="k"))
    again = buffer.append(chat.post("one", "two", key="k"))

    assert (again.first, again.size, again.replayed) == (2, 2, True)
    assert first.numbers == again.numbers
    assert len(waiting(buffer, chat)) == 3


def test_the_same_key_sent_by_many_at_once_is_taken_once(buffer: Buffer) -> None:
    chat = Chat()

    receipts = in_parallel(6, lambda _: buffer.append(chat.post("one", key="k")))

    assert {receipt.first for receipt in receipts} == {1}
    assert waiting(buffer, chat) == [(1, "one")]


def test_the_same_key_with_other_turns_is_refused(buffer: Buffer) -> None:
    chat = Chat()
    buffer.append(chat.post("one", key="k"))

    with pytest.raises(KeyReused, match="'k'"):
        buffer.append(chat.post("two", key="k"))

    assert waiting(buffer, chat) == [(1, "one")]


def test_a_key_is_remembered_after_its_turns_were_saved(buffer: Buffer) -> None:
    chat = Chat()
    first = buffer.append(chat.post("one", key="k"))
    flush_all()

    again = buffer.append(chat.post("one", key="k"))

    assert (again.numbers, again.replayed) == (first.numbers, True)
    flush_all()
    assert chat.saved == ["one"]


def test_what_is_saved_waits_no_longer_and_numbers_go_on(buffer: Buffer) -> None:
    chat = Chat()
    buffer.append(chat.post("one", "two"))

    flush_all()

    assert waiting(buffer, chat) == []
    assert buffer.append(chat.post("three")).first == 3
    assert chat.contents == ["one", "two", "three"]


def test_a_turn_that_comes_while_others_are_saved_stays_for_the_next_flush(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat()
    buffer.append(chat.post("one"))
    after_the_commit = type(buffer).remove_saved

    def comes(self: Buffer, saved: Any) -> None:
        self.append(chat.post("two"))
        after_the_commit(self, saved)  # type: ignore[arg-type]

    monkeypatch.setattr(type(buffer), "remove_saved", comes)
    flush_all()
    monkeypatch.undo()

    assert chat.saved == ["one"]
    assert chat.contents == ["one", "two"]
    flush_all()
    assert chat.saved == ["one", "two"]


def test_waiting_turns_are_read_a_page_at_a_time(buffer: Buffer) -> None:
    chat = Chat()
    buffer.append(chat.post(*map(str, range(1, 251))))

    def numbers(after: int, limit: int) -> list[int]:
        return [turn["seq"] for turn in buffer.page(chat.row, after, limit)]

    assert numbers(0, 3) == [1, 2, 3]
    assert numbers(3, 100) == list(range(4, 104))
    assert numbers(248, 100) == [249, 250]
    assert numbers(250, 100) == numbers(10**15, 100) == []
    assert buffer.page(chat.row, 0, 1) == [buffer.read([chat.row])[chat.row.id].turns[0]]


def test_activity_tells_how_many_wait_and_since_when(buffer: Buffer) -> None:
    chat = Chat()
    post = chat.post("one", "two")
    buffer.append(post)

    [activity] = buffer.activity([chat.row]).values()

    assert activity.turns == 2
    assert activity.last_turn_at is not None
    assert abs((activity.last_turn_at - post.at).total_seconds()) < 60


def test_a_save_that_fails_changes_nothing(buffer: Buffer) -> None:
    chat = Chat()
    buffer.append(chat.post("one"))

    with refused_by_postgres(chat):
        assert flush_all().failed == 1

    assert waiting(buffer, chat) == [(1, "one")]
    assert chat.saved == []
    assert Conversation.objects.get().saved_turns == 0
