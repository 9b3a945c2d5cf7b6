"""Turns as a client sends them, as a buffer stores them, and the receipt that the client gets."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import uuid4

from memories.tenants import Tenant

# {"seq": 3, "role": "user", "content": "...", "at": "2026-01-31T08:15:00.123Z", and all other fields of the client}
Turn = dict[str, Any]
# The fields that the service adds to a turn. A client cannot send them.
SERVICE_FIELDS = frozenset({"seq", "at"})


class KeyReused(Exception):
    """An Idempotency-Key came with other turns than the first time."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"Idempotency-Key {key!r} came with other turns before: use a new key for new turns."
        )


class SavedKey(NamedTuple):
    """An Idempotency-Key and the turns that came with it: `size` turns from number `first`."""

    key: str
    body_hash: str
    first: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Post:
    """The turns of one request, in order. `id` identifies the post when its outcome is unknown."""

    tenant: Tenant
    conversation_id: str
    turns: tuple[Turn, ...]
    key: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def stamped(self) -> list[Turn]:
        """The turns with the time of the request, as a buffer stores them."""
        at = self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return [{**turn, "at": at} for turn in self.turns]

    @cached_property
    def body_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.turns, sort_keys=True).encode()).hexdigest()

    def check(self, known: SavedKey) -> "Receipt":
        """The receipt of the first request with this key. Raises KeyReused if that request had other turns."""
        if known.body_hash != self.body_hash:
            raise KeyReused(known.key)
        return Receipt(known.first, known.size, replayed=True)


class Receipt(NamedTuple):
    """The numbers of the turns: `size` numbers from `first`. `replayed`: the key was known and nothing was added."""

    first: int
    size: int
    replayed: bool = False

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.size)
