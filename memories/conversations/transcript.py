"""Reading: a conversation as if there were no buffer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.protocol import Buffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.turns import Turn
from memories.models import MemoryLog
from memories.models.conversation import Conversation, ConversationGap, ConversationPart


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All turns in order. `complete` is False where Redis may hold more and does not answer."""

    row: Conversation
    turns: Sequence[Turn]
    waiting: int
    memory_ids: Sequence[int]
    gaps: Sequence[ConversationGap]
    complete: bool


def transcript(row: Conversation, *, after: int = 0) -> Transcript:
    """The turns with a number above `after`, saved and waiting.

    The buffers are read before the memories: a flush that comes between moves turns from the first to the second,
    and what is then in both counts once.
    """
    buffered, complete = waiting(row)
    row.refresh_from_db()
    parts = list(ConversationPart.objects.filter(conversation=row))
    saved = _saved(part for part in parts if part.last_turn > after)
    turns = {**{turn["seq"]: turn for turn in buffered}, **saved}
    return Transcript(
        row=row,
        turns=[turns[seq] for seq in sorted(turns) if seq > after],
        waiting=len({turn["seq"] for turn in buffered} - saved.keys()),
        memory_ids=[part.memory_id for part in parts],
        gaps=list(row.gaps.all()),
        complete=complete,
    )


def waiting_counts(rows: Sequence[Conversation]) -> Mapping[int, int | None]:
    """How many turns of each conversation wait to be saved; None where Redis has some and does not answer."""
    counts: dict[int, int | None] = dict.fromkeys((row.id for row in rows), 0)
    for id, activity in PostgresBuffer().activity(rows).items():
        counts[id] = activity.turns
    if any(row.in_redis for row in rows):
        counts |= _in_redis(rows, counts)
    return counts


def memory_ids(row: Conversation) -> list[int]:
    """The memories that the conversation's saved turns are in, in order."""
    return list(ConversationPart.objects.filter(conversation=row).values_list("memory_id", flat=True))


def _in_redis(rows: Sequence[Conversation], counts: Mapping[int, int | None]) -> dict[int, int | None]:
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        activity = RedisBuffer().activity(rows)
    except RedisAway:
        return dict.fromkeys(row.id for row in rows if row.in_redis)
    return {id: (counts[id] or 0) + its.turns for id, its in activity.items()}


def waiting(row: Conversation) -> tuple[list[Turn], bool]:
    """The turns that wait to be saved, and whether these are all of them."""
    in_postgres = PostgresBuffer()
    if not row.in_redis:
        return _held(in_postgres, row), True
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        in_redis = _held(RedisBuffer(), row)
    except RedisAway:
        return _held(in_postgres, row), False
    return [*in_redis, *_held(in_postgres, row)], True


def _held(buffer: Buffer, row: Conversation) -> list[Turn]:
    return [turn for held in buffer.held([row]).values() for turn in held.turns]


def _saved(parts: Iterable[ConversationPart]) -> dict[int, Turn]:
    """As the memories hold them; somebody may have changed or deleted one."""
    memories = MemoryLog.objects.in_bulk([part.memory_id for part in parts])
    turns = (turn for row in memories.values() for turn in _turns(row.raw_data.get("turns")))
    return {turn["seq"]: turn for turn in turns}


def _turns(given: object) -> list[Turn]:
    turns = given if isinstance(given, list) else []
    return [turn for turn in turns if isinstance(turn, dict) and isinstance(turn.get("seq"), int)]
