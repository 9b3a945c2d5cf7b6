"""Saving: turns that waited become memories, many conversations in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from memories.conversations.chunks import AGENT, Part, divided, raw_data_of, task_of
from memories.conversations.turns import SavedKey, Turn
from memories.models import MemoryLog
from memories.models.conversation import Conversation, ConversationPart, TurnKey
from memories.records import services


class _New(NamedTuple):
    """A part to be, and the memory it becomes."""

    part: ConversationPart
    memory: services.NewMemory


class _Grown(NamedTuple):
    part: ConversationPart
    memory: MemoryLog
    raw_data: dict[str, Any]


def save(turns: Mapping[Conversation, Sequence[Turn]]) -> int:
    """Make memories of the turns, whose rows the caller has locked; returns how many were stored or changed.

    The last part of a resumed conversation grows by a new version of its memory, up to the size limit; what is over
    becomes parts of its own. One whose memory was deleted stays deleted.
    """
    last_parts = _last_parts(turns)
    memories = _locked(part.memory_id for part in last_parts.values())
    new: list[_New] = []
    grown: list[_Grown] = []
    for row, its in turns.items():
        last = last_parts.get(row.id)
        number = last.number if last else 0
        memory = memories.get(last.memory_id) if last else None
        first, *more = divided(its, taken=last.characters if last and memory else 0)
        if last and memory and first.turns:
            grown.append(_grow(row, last, memory, first))
        elif first.turns:
            more.insert(0, first)
        new += [_new(row, number + n, part) for n, part in enumerate(more, start=1)]
        row.saved_turns += len(its)
        row.last_turn_at = max(filter(None, [row.last_turn_at, _at(its[-1])]), default=None)
    _store(new)
    _store_grown(grown)
    return len(new) + len(grown)


def save_keys(keys: Mapping[Conversation, Sequence[SavedKey]]) -> None:
    """Keep the Idempotency-Keys that came with the turns, for those who send them again."""
    TurnKey.objects.bulk_create(
        [
            TurnKey(
                conversation=row, key=key.key, body_hash=key.body_hash, first_turn=key.first, count=key.size
            )
            for row, its in keys.items()
            for key in its
        ],
        ignore_conflicts=True,
    )


def _last_parts(rows: Iterable[Conversation]) -> dict[int, ConversationPart]:
    parts = ConversationPart.objects.filter(conversation__in=rows).order_by("conversation_id", "-number")
    return {part.conversation_id: part for part in parts.distinct("conversation_id")}


def _locked(memory_ids: Iterable[int]) -> dict[int, MemoryLog]:
    rows = MemoryLog.objects.select_for_update(no_key=True).defer("embedding").order_by("id")
    return {row.id: row for row in rows.filter(id__in=list(memory_ids))}


def _grow(row: Conversation, part: ConversationPart, memory: MemoryLog, more: Part) -> _Grown:
    had = memory.raw_data.get("turns")  # as somebody may have changed it
    turns = [*(had if isinstance(had, list) else []), *more.turns]
    part.last_turn, part.characters = more.turns[-1]["seq"], more.characters
    raw_data = raw_data_of(row.conversation_id, part.number, turns) | {"first_turn": part.first_turn}
    return _Grown(part, memory, {**memory.raw_data, **raw_data})


def _new(row: Conversation, number: int, part: Part) -> _New:
    raw_data = raw_data_of(row.conversation_id, number, part.turns)
    memory = services.NewMemory(
        **row.tenant._asdict(),
        task=task_of(row.conversation_id, number),
        agent=AGENT,
        date=_at(part.turns[0]).date(),
        raw_data=raw_data,
    )
    held = ConversationPart(
        conversation=row,
        number=number,
        first_turn=raw_data["first_turn"],
        last_turn=raw_data["last_turn"],
        characters=part.characters,
    )
    return _New(held, memory)


def _store(new: Sequence[_New]) -> None:
    stored = services.create_memories(memory for _, memory in new)
    for (part, _), memory in zip(new, stored, strict=True):
        part.memory_id = memory.id
    ConversationPart.objects.bulk_create(part for part, _ in new)


def _store_grown(grown: Sequence[_Grown]) -> None:
    services.replace_raw_data({memory: raw_data for _, memory, raw_data in grown})
    ConversationPart.objects.bulk_update([part for part, _, _ in grown], ["last_turn", "characters"])


def _at(turn: Turn) -> datetime:
    return datetime.fromisoformat(turn["at"])
