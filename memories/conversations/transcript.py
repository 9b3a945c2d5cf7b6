"""Read a conversation: saved and waiting turns together, as if there were no buffer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway, Unreadable
from memories.conversations.turns import Turn
from memories.models import MemoryLog
from memories.models.conversation import Conversation, ConversationChunk, ConversationGap
from memories.records.size import json_bytes

# Memories read at once: each may have a megabyte.
CHUNKS = 10
GAPS = 100


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """A page of turns in order, and the conversation in numbers.

    `next_after` is the `after` of the next page, and None on the last page. `waiting` counts all waiting turns; it is
    None, and `complete` is False, if Redis may hold more turns and cannot be read. `memory_ids` are the memories that
    hold the saved turns of the page.
    """

    row: Conversation
    turns: Sequence[Turn]
    next_after: int | None
    waiting: int | None
    memory_ids: Sequence[int]
    gaps: Sequence[ConversationGap]
    complete: bool


@dataclass(frozen=True)
class Limit:
    """The size of a page. A page has at least one turn, whatever its size."""

    turns: int
    bytes: int


def transcript(row: Conversation, limit: Limit, *, after: int = 0) -> Transcript:
    """The first turns with a number above `after`, saved and waiting.

    The buffers are read before the memories: a flush between the two reads moves turns from the buffers to the
    memories, and a turn that was read from both counts once.
    """
    count = waiting_counts([row])[row.id]
    buffered, complete = waiting(row, after=after, limit=limit.turns + 1)
    row.refresh_from_db()
    saved, has_more = _cut(_saved(row, after), limit)
    turns = {turn["seq"]: turn for turn in [*buffered, *saved]}
    if has_more:  # a waiting turn comes after the saved turns that are not read yet
        turns = {seq: turn for seq, turn in turns.items() if seq <= saved[-1]["seq"]}
    page, is_cut = _cut((turns[seq] for seq in sorted(turns)), limit)
    next_after = page[-1]["seq"] if has_more or is_cut else None
    return Transcript(
        row=row,
        turns=page,
        next_after=next_after,
        waiting=count if complete else None,
        memory_ids=memory_ids(row, after=after, through=next_after),
        gaps=list(row.gaps.all()[:GAPS]),
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


def memory_ids(row: Conversation, *, after: int = 0, through: int | None = None) -> list[int]:
    """The memories that hold the saved turns above `after`, up to `through` if it is given, in order."""
    chunks = ConversationChunk.objects.filter(conversation=row, last_turn__gt=after)
    if through is not None:
        chunks = chunks.filter(first_turn__lte=through)
    return list(chunks.values_list("memory_id", flat=True))


def _in_redis(rows: Sequence[Conversation], counts: Mapping[int, int | None]) -> dict[int, int | None]:
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        activity = RedisBuffer().activity(rows)
    except RedisAway:
        return dict.fromkeys(row.id for row in rows if row.in_redis)
    return {id: (counts[id] or 0) + waiting.turns for id, waiting in activity.items()}


def waiting(row: Conversation, *, after: int = 0, limit: int) -> tuple[list[Turn], bool]:
    """The first waiting turns with a number above `after`, and whether Redis could be read as well."""
    in_postgres = PostgresBuffer()
    if not row.in_redis:
        return in_postgres.page(row, after, limit), True
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        in_redis = RedisBuffer().page(row, after, limit)
    except (RedisAway, Unreadable):
        return in_postgres.page(row, after, limit), False
    both = [*in_redis, *in_postgres.page(row, after, limit)]
    return sorted(both, key=lambda turn: int(turn["seq"]))[:limit], True


def _saved(row: Conversation, after: int) -> Iterator[Turn]:
    """The turns in the memories, in order; the memories are read a few at a time."""
    chunks = list(ConversationChunk.objects.filter(conversation=row, last_turn__gt=after))
    for start in range(0, len(chunks), CHUNKS):
        step = chunks[start : start + CHUNKS]
        memories = MemoryLog.objects.unexpired().filter(id__in=[chunk.memory_id for chunk in step])
        bodies = dict(memories.values_list("id", "raw_data"))
        for chunk in step:
            yield from (turn for turn in _turns(chunk, bodies.get(chunk.memory_id)) if turn["seq"] > after)


def _turns(chunk: ConversationChunk, body: object) -> list[Turn]:
    """The turns of a chunk by number. The owner of the memory may have changed it to anything, or deleted it."""
    turns = body.get("turns") if isinstance(body, dict) else None
    found = {
        turn["seq"]: turn
        for turn in (turns if isinstance(turns, list) else ())
        if isinstance(turn, dict)
        and isinstance(turn.get("seq"), int)
        and chunk.first_turn <= turn["seq"] <= chunk.last_turn
    }
    return [found[seq] for seq in sorted(found)]


def _cut(turns: Iterable[Turn], limit: Limit) -> tuple[list[Turn], bool]:
    """The first turns within the limit, and whether there are more."""
    page: list[Turn] = []
    size = 0
    for turn in turns:
        size += json_bytes(turn)
        if page and (len(page) == limit.turns or size > limit.bytes):
            return page, True
        page.append(turn)
    return page, False
