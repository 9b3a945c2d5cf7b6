"""Read a conversation: saved and waiting turns together, as if there were no buffer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.protocol import Buffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway, Unreadable
from memories.conversations.turns import Turn
from memories.models import MemoryLog
from memories.models.conversation import Conversation, ConversationChunk, ConversationGap


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All turns in order. `complete` is False if Redis may hold more turns and cannot be read."""

    row: Conversation
    turns: Sequence[Turn]
    waiting: int
    memory_ids: Sequence[int]
    gaps: Sequence[ConversationGap]
    complete: bool


def transcript(row: Conversation, *, after: int = 0) -> Transcript:
    """The turns with a number above `after`, saved and waiting.

    The buffers are read before the memories: a flush between the two reads moves turns from the buffers to the
    memories, and a turn that was read from both counts once.
    """
    buffered, complete = waiting(row)
    row.refresh_from_db()
    chunks = list(ConversationChunk.objects.filter(conversation=row))
    saved = _saved(chunk for chunk in chunks if chunk.last_turn > after)
    turns = {**{turn["seq"]: turn for turn in buffered}, **saved}
    return Transcript(
        row=row,
        turns=[turns[seq] for seq in sorted(turns) if seq > after],
        waiting=len({turn["seq"] for turn in buffered} - saved.keys()),
        memory_ids=[chunk.memory_id for chunk in chunks],
        gaps=list(row.gaps.all()),
        complete=complete,
    )


def waiting_counts(rows: Sequence[Conversation]) -> Mapping[int, int | None]:
    """How many turns of each conversation wait; None if Redis holds some and does not answer."""
    counts: dict[int, int | None] = dict.fromkeys((row.id for row in rows), 0)
    for id, activity in PostgresBuffer().activity(rows).items():
        counts[id] = activity.turns
    if any(row.in_redis for row in rows):
        counts |= _in_redis(rows, counts)
    return counts


def memory_ids(row: Conversation) -> list[int]:
    """The memories that hold the saved turns, in order."""
    return list(ConversationChunk.objects.filter(conversation=row).values_list("memory_id", flat=True))


def _in_redis(rows: Sequence[Conversation], counts: Mapping[int, int | None]) -> dict[int, int | None]:
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        activity = RedisBuffer().activity(rows)
    except RedisAway:
        return dict.fromkeys(row.id for row in rows if row.in_redis)
    return {id: (counts[id] or 0) + waiting.turns for id, waiting in activity.items()}


def waiting(row: Conversation) -> tuple[list[Turn], bool]:
    """The waiting turns, and whether these are all of them."""
    in_postgres = PostgresBuffer()
    if not row.in_redis:
        return _read(in_postgres, row), True
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        in_redis = _read(RedisBuffer(), row)
    except (RedisAway, Unreadable):
        return _read(in_postgres, row), False
    return [*in_redis, *_read(in_postgres, row)], True


def _read(buffer: Buffer, row: Conversation) -> list[Turn]:
    return [turn for contents in buffer.read([row]).values() for turn in contents.turns]


def _saved(chunks: Iterable[ConversationChunk]) -> dict[int, Turn]:
    """The turns in the memories, by number. The owner of a memory may have changed or deleted it."""
    memories = MemoryLog.objects.unexpired().in_bulk([chunk.memory_id for chunk in chunks])
    turns = (turn for row in memories.values() for turn in _turns(row.raw_data.get("turns")))
    return {turn["seq"]: turn for turn in turns}


def _turns(value: object) -> list[Turn]:
    turns = value if isinstance(value, list) else []
    return [turn for turn in turns if isinstance(turn, dict) and isinstance(turn.get("seq"), int)]
