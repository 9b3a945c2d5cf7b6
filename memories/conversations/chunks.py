"""Chunks: the turns of a conversation are split so that the text of each chunk fits into one memory."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from memories.conversations.turns import Turn
from memories.models.conversation import ConversationChunk
from memories.records.size import count_values, json_bytes
from memories.text import MAX_CHARACTERS, spoken_line

# Values and bytes of a memory that hold no turn: the name and the numbers.
VALUES_AROUND = 10
BYTES_AROUND = 2_000


class Size(NamedTuple):
    """How large turns are: characters of the memory's text, and values and bytes of its body."""

    characters: int = 0
    values: int = 0
    bytes: int = 0

    def plus(self, other: "Size") -> "Size":
        return Size(*(one + more for one, more in zip(self, other, strict=True)))

    def fits(self) -> bool:
        """Whether one memory holds so much: its text and its body are not too large for it."""
        return (
            self.characters <= min(int(settings.CONVERSATION_PART_CHARACTERS), MAX_CHARACTERS)
            and self.values <= int(settings.MEMORY_MAX_VALUES) - VALUES_AROUND
            and self.bytes <= int(settings.MEMORY_MAX_BYTES) - BYTES_AROUND
        )


class Chunk(NamedTuple):
    """Turns that become one memory, and their size together with turns that the memory has already."""

    turns: Sequence[Turn]
    size: Size


def size_of(turn: Turn) -> Size:
    return Size(len(spoken_line(turn)) + 1, count_values(turn) + 1, json_bytes(turn) + 1)


def split(turns: Iterable[Turn], *, used: Size = Size()) -> list[Chunk]:  # noqa: B008 - immutable
    """The turns in order, in chunks that fit.

    The first chunk continues one that is `used` already; it may get no turn. A turn that is too large for a chunk is a
    chunk of its own.
    """
    chunks = [Chunk([], used)]
    for turn in turns:
        size = size_of(turn)
        if chunks[-1].size != Size() and not chunks[-1].size.plus(size).fits():
            chunks.append(Chunk([], Size()))
        chunks[-1] = Chunk([*chunks[-1].turns, turn], chunks[-1].size.plus(size))
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
