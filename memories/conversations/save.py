"""Save waiting turns as memories, many conversations in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from memories.conversations.chunks import Chunk, Size, raw_data_of, split
from memories.conversations.turns import SavedKey, Turn
from memories.dialogue import AGENT, task_of
from memories.models import MemoryLog
from memories.models.conversation import Conversation, ConversationChunk, TurnKey
from memories.records import services
from memories.records.size import count_values, json_bytes


class _New(NamedTuple):
    """A new chunk and its memory, neither stored yet."""

    chunk: ConversationChunk
    memory: services.NewMemory


class _Grown(NamedTuple):
    chunk: ConversationChunk
    memory: MemoryLog
    raw_data: dict[str, Any]


def save(turns: Mapping[Conversation, Sequence[Turn]]) -> int:
    """Make memories of the turns; return how many memories were stored or changed. The caller has locked the rows.

    The last chunk of a conversation that goes on grows, up to the limit, by a new version of its memory; further turns
    become new chunks. A memory that was deleted stays deleted.
    """
    last_chunks = _last_chunks(turns)
    memories = _locked(chunk.memory_id for chunk in last_chunks.values())
    new: list[_New] = []
    grown: list[_Grown] = []
    for row, waiting in turns.items():
        last = last_chunks.get(row.id)
        number = last.number if last else 0
        memory = memories.get(last.memory_id) if last else None
        first, *more = split(waiting, used=_used(last, memory) if last and memory else Size())
        if last and memory and first.turns:
            grown.append(_grow(row, last, memory, first))
        elif first.turns:
            more.insert(0, first)
        new += [_new(row, number + n, chunk) for n, chunk in enumerate(more, start=1)]
        row.saved_turns += len(waiting)
        row.last_turn_at = max(filter(None, [row.last_turn_at, _at(waiting[-1])]), default=None)
    _store_new(new)
    _store_grown(grown)
    return len(new) + len(grown)


def save_keys(keys: Mapping[Conversation, Sequence[SavedKey]]) -> None:
    """Keep the Idempotency-Keys of the turns: a client may repeat its request after the save."""
    TurnKey.objects.bulk_create(
        [
            TurnKey(
                conversation=row, key=key.key, body_hash=key.body_hash, first_turn=key.first, count=key.size
            )
            for row, its_keys in keys.items()
            for key in its_keys
        ],
        ignore_conflicts=True,
    )


def _last_chunks(rows: Iterable[Conversation]) -> dict[int, ConversationChunk]:
    chunks = ConversationChunk.objects.filter(conversation__in=rows).order_by("conversation_id", "-number")
    return {chunk.conversation_id: chunk for chunk in chunks.distinct("conversation_id")}


def _locked(memory_ids: Iterable[int]) -> dict[int, MemoryLog]:
    rows = MemoryLog.objects.unexpired().select_for_update(no_key=True).defer("embedding").order_by("id")
    return {row.id: row for row in rows.filter(id__in=list(memory_ids))}


def _used(chunk: ConversationChunk, memory: MemoryLog) -> Size:
    body = _body(memory)
    return Size(chunk.characters, count_values(body), json_bytes(body))


def _body(memory: MemoryLog) -> dict[str, Any]:
    """The owner of the memory may have changed its body to anything."""
    return memory.raw_data if isinstance(memory.raw_data, dict) else {}


def _grow(row: Conversation, chunk: ConversationChunk, memory: MemoryLog, more: Chunk) -> _Grown:
    chunk.last_turn, chunk.characters = more.turns[-1]["seq"], more.size.characters
    body = _body(memory)
    saved = body.get("turns")
    turns = [*(saved if isinstance(saved, list) else []), *more.turns]
    return _Grown(chunk, memory, body | raw_data_of(chunk, row.conversation_id, turns))


def _new(row: Conversation, number: int, chunk: Chunk) -> _New:
    stored = ConversationChunk(
        conversation=row,
        number=number,
        first_turn=chunk.turns[0]["seq"],
        last_turn=chunk.turns[-1]["seq"],
        characters=chunk.size.characters,
    )
    memory = services.NewMemory(
        **row.tenant._asdict(),
        task=task_of(row.conversation_id, number),
        agent=AGENT,
        date=_at(chunk.turns[0]).date(),
        raw_data=raw_data_of(stored, row.conversation_id, chunk.turns),
    )
    return _New(stored, memory)


def _store_new(new: Sequence[_New]) -> None:
    stored = services.create_memories(memory for _, memory in new)
    for (chunk, _), memory in zip(new, stored, strict=True):
        chunk.memory_id = memory.id
    ConversationChunk.objects.bulk_create(chunk for chunk, _ in new)


def _store_grown(grown: Sequence[_Grown]) -> None:
    services.replace_raw_data({memory: raw_data for _, memory, raw_data in grown})
    ConversationChunk.objects.bulk_update([chunk for chunk, _, _ in grown], ["last_turn", "characters"])


def _at(turn: Turn) -> datetime:
    return datetime.fromisoformat(turn["at"])
