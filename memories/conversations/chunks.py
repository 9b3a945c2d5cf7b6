"""A conversation as memories: its turns in parts, each as much text as is searched well."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from memories.conversations.turns import Turn
from memories.text import MAX_CHARACTERS, spoken_line

AGENT = "conversation"
# Of the text's limit this much is left to the lines around the turns: the name and the numbers.
AROUND = 500


class Part(NamedTuple):
    """Turns that make one memory, and how many characters of its text they take."""

    turns: Sequence[Turn]
    characters: int


def part_limit() -> int:
    """Characters of turns in a part: so many that nothing of them is cut off from the memory's text."""
    return min(int(settings.CONVERSATION_PART_CHARACTERS), MAX_CHARACTERS - AROUND)


def divided(turns: Iterable[Turn], *, taken: int = 0) -> list[Part]:
    """The turns in order, in parts within the limit; the first has `taken` characters already, and may get none.

    A turn that is longer than a part is a part of its own.
    """
    parts = [Part([], taken)]
    for turn in turns:
        length = len(spoken_line(turn)) + 1
        if parts[-1].characters and parts[-1].characters + length > part_limit():
            parts.append(Part([], 0))
        parts[-1] = Part([*parts[-1].turns, turn], parts[-1].characters + length)
    return parts


def task_of(conversation_id: str, number: int) -> str:
    return f"Conversation {conversation_id}" + (f", part {number}" if number > 1 else "")


def raw_data_of(conversation_id: str, number: int, turns: Sequence[Turn]) -> dict[str, Any]:
    return {
        "conversation_id": conversation_id,
        "part": number,
        "first_turn": turns[0]["seq"],
        "last_turn": turns[-1]["seq"],
        "turns": list(turns),
    }
