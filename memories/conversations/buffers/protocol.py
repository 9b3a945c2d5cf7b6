"""What a buffer is: a place where turns wait, numbered, until their conversation is saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from memories.conversations.turns import Post, Receipt, SavedKey, Turn
from memories.models.conversation import Conversation


class Activity(NamedTuple):
    """What waits of a conversation: how many turns, when the last came, when they are forgotten (None: never)."""

    turns: int
    last_turn_at: datetime | None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Held:
    """The turns that wait, by number, and the Idempotency-Keys they came with.

    `gone`: the buffer does not know the conversation any more; `missing`: so many fewer than were seen there before.
    """

    turns: Sequence[Turn] = ()
    keys: Sequence[SavedKey] = ()
    gone: bool = False
    missing: int = 0


class Buffer(Protocol):
    """Both are held to one contract by the tests.

    `activity` and `held` tell of those conversations that have something there. A save calls `held`, then
    `saving` in its transaction and `saved` after the commit; a turn that comes meanwhile stays for the next.
    """

    name: str

    def append(self, post: Post) -> Receipt:
        """Take the turns in, numbered without a gap between them. Raises KeyReused."""

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]: ...

    def left(self, activity: Mapping[Conversation, Activity]) -> None:
        """These are left for a later flush."""

    def held(self, rows: Iterable[Conversation]) -> Mapping[int, Held]: ...

    def saving(self, held: Mapping[Conversation, Held]) -> None:
        """In the transaction that saves these turns, which holds the rows' locks and writes the rows after this."""

    def saved(self, held: Mapping[Conversation, Held]) -> None:
        """After its commit: these turns wait no longer."""
