"""The interface of a buffer. A buffer holds numbered turns until their conversation is saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from memories.conversations.turns import Post, Receipt, SavedKey, Turn
from memories.models.conversation import Conversation


class Activity(NamedTuple):
    """The waiting turns of a conversation in numbers. `expires_at` is None if the buffer never drops them."""

    turns: int
    last_turn_at: datetime | None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The waiting turns of a conversation in order, and the Idempotency-Keys that came with them.

    `forgotten`: the buffer no longer knows the conversation. `missing`: how many turns fewer than an earlier flush saw.
    """

    turns: Sequence[Turn] = ()
    keys: Sequence[SavedKey] = ()
    forgotten: bool = False
    missing: int = 0


class Buffer(Protocol):
    """Both buffers pass the same contract tests.

    `activity` and `read` answer for the conversations that have something in this buffer. A save calls `read`, then
    `mark_saved` in its transaction, then `remove_saved` after the commit. A turn that comes meanwhile stays in the
    buffer for the next save.
    """

    name: str

    def append(self, post: Post) -> Receipt:
        """Store the turns under consecutive numbers. Raises KeyReused."""

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]: ...

    def note_waiting(self, activity: Mapping[Conversation, Activity]) -> None:
        """Record how many turns wait in the conversations that this flush does not save."""

    def read(self, rows: Iterable[Conversation]) -> Mapping[int, Contents]:
        """Raises Unreadable if the buffer holds something else than turns for one of the conversations."""

    def page(self, row: Conversation, after: int, limit: int) -> list[Turn]:
        """The first `limit` waiting turns with a number above `after`, in order. Raises Unreadable."""

    def keep(self, rows: Iterable[Conversation]) -> None:
        """Do not drop the turns of these conversations while they are set aside."""

    def mark_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        """Runs in the transaction of the save. The caller holds the rows' locks and writes the rows afterwards."""

    def remove_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        """Runs after the commit of the save: the turns no longer wait."""
