"""Turns as they come in, as they wait, and as the client is told."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import uuid4

from memories.tenants import Tenant

# {"seq": 3, "role": "user", "content": "...", "at": "2026-01-31T08:15:00.123Z", and whatever else the client gave}
Turn = dict[str, Any]
# What the service gives a turn, and a client therefore cannot.
GIVEN_BY_US = frozenset({"seq", "at"})


class KeyReused(Exception):
    """An Idempotency-Key came with other turns than the first time."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"Idempotency-Key {key!r} came with other turns before: use a new key for new turns."
        )


class SavedKey(NamedTuple):
    """An Idempotency-Key, and the turns that came with it: `size` of them from number `first`."""

    key: str
    body_hash: str
    first: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Post:
    """The turns of one request, in order. `id` tells it from all others, also where its outcome is unknown."""

    tenant: Tenant
    conversation_id: str
    turns: tuple[Turn, ...]
    key: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def stamped(self) -> list[Turn]:
        at = self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return [{**turn, "at": at} for turn in self.turns]

    @cached_property
    def body_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.turns, sort_keys=True).encode()).hexdigest()

    def check(self, known: SavedKey) -> "Receipt":
        """The first answer again. Raises KeyReused where the turns are others."""
        if known.body_hash != self.body_hash:
            raise KeyReused(known.key)
        return Receipt(known.first, known.size, replayed=True)


class Receipt(NamedTuple):
    """The numbers the turns got: `size` of them from `first`. `replayed`: their key was known, nothing was added."""

    first: int
    size: int
    replayed: bool = False

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.size)
