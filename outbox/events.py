"""The event as those who publish and those who handle it see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

INTERACTIVE = 0
BULK = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event to publish. `payload` must be what JSON can carry. Not delivered before `available_at`, if given."""

    type: str
    aggregatetype: str
    aggregateid: str | int
    payload: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    priority: int = INTERACTIVE
    available_at: datetime | None = None


class ClaimedEvent(NamedTuple):
    """An event in the hands of a worker. `attempts` counts this one."""

    id: int
    aggregatetype: str
    aggregateid: str
    type: str
    payload: dict[str, Any]
    headers: dict[str, str]
    priority: int
    attempts: int
    created_at: datetime
