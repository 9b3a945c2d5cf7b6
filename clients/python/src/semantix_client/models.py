"""What the service answers, as objects."""

from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Memory:
    """A memory. `status` says how far it has come: pending, embedded, indexed or failed."""

    id: int
    user_id: str
    project_id: str
    task: str
    agent: str
    date: Date
    raw_data: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    external_id: str | None = None
    expires_at: datetime | None = None
    status: str | None = None
    error: str | None = None
    duplicate_of: int | None = None
    similar_to: int | None = None
    embedding: list[float] | None = None

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Memory":
        """From an answer of the API."""
        sync = body.get("sync") or {}
        return cls(
            id=body["id"],
            user_id=body["user_id"],
            project_id=body["project_id"],
            task=body["task"],
            agent=body["agent"],
            date=Date.fromisoformat(body["date"]),
            raw_data=body["raw_data"],
            version=body["version"],
            created_at=moment(body["created_at"]),
            updated_at=moment(body["updated_at"]),
            external_id=body.get("external_id"),
            expires_at=body.get("expires_at") and moment(body["expires_at"]),
            status=sync.get("status"),
            error=sync.get("error"),
            duplicate_of=body.get("duplicate_of"),
            similar_to=body.get("similar_to"),
            embedding=body.get("embedding"),
        )


@dataclass(frozen=True)
class Hit:
    """A result of a search. `score` orders one answer; `similarity` is 0 to 1, None by words alone."""

    memory_id: int
    document: str
    score: float
    similarity: float | None
    metadata: dict[str, Any]
    memory: Memory | None = None
    # Its places by words and by meaning, and what neighbours added; None unless it was asked for.
    explain: dict[str, Any] | None = None

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Hit":
        """From an answer of the API."""
        memory = body.get("memory")
        return cls(
            memory_id=body["memory_log_id"],
            document=body["document"],
            score=body["score"],
            similarity=body["similarity"],
            metadata=body["metadata"],
            memory=Memory.of(memory) if memory else None,
            explain=body.get("explain"),
        )


@dataclass(frozen=True)
class TenantTotal:
    """A project of a user, and how many memories it has."""

    user_id: str
    project_id: str
    memories: int


@dataclass(frozen=True)
class Event:
    """Something that happened to a memory. `id` is where to resume after it."""

    id: str
    type: str
    memory_id: int | None
    data: dict[str, Any]


@dataclass(frozen=True)
class Turns:
    """Turns of a conversation that were taken in: the number of the first one, and how many."""

    first: int
    count: int


@dataclass(frozen=True)
class Erasure:
    """The receipt of an erasure."""

    id: int
    status: str
    verified: bool
    receipt: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Erasure":
        """From an answer of the API."""
        return cls(body["id"], body["status"], body["verified"], body)

    @property
    def is_over(self) -> bool:
        return self.status in ("done", "failed")


def moment(text: str) -> datetime:
    """A time of the API. Python 3.10 does not read the Z of UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
