"""Chunks: the turns of a conversation are split so that the text of each chunk fits into one memory."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from memories.conversations.turns import Turn
from memories.models.conversation import ConversationChunk
from memories.text import MAX_CHARACTERS, spoken_line


class Chunk(NamedTuple):
    """Turns that become one memory, and how many characters of its text they take."""

    turns: Sequence[Turn]
    characters: int


def chunk_limit() -> int:
    """Characters of turns in a chunk, so that the memory's text holds all of them."""
    return min(int(settings.CONVERSATION_PART_CHARACTERS), MAX_CHARACTERS)


def split(turns: Iterable[Turn], *, used: int = 0) -> list[Chunk]:
    """The turns in order, in chunks within the limit.

    The first chunk continues one that has `used` characters already; it may get no turn. A turn that is longer than
    the limit is a chunk of its own.
    """
    chunks = [Chunk([], used)]
    for turn in turns:
        length = len(spoken_line(turn)) + 1
        if chunks[-1].characters and chunks[-1].characters + length > chunk_limit():
            chunks.append(Chunk([], 0))
        chunks[-1] = Chunk([*chunks[-1].turns, turn], chunks[-1].characters + length)
    return chunks


def raw_data_of(chunk: ConversationChunk, conversation_id: str, turns: Sequence[Any]) -> dict[str, Any]:
    """The body of a chunk's memory. The owner may have edited `turns` that were saved earlier: they can be anything."""
    return {
        "conversation_id": conversation_id,
        "part": chunk.number,
        "first_turn": chunk.first_turn,
        "last_turn": chunk.last_turn,
        "turns": list(turns),
    }
