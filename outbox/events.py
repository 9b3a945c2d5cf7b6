"""The event as a publisher and as a handler see it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

INTERACTIVE = 0
BULK = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class RowEvent:
    """An event of a row that `publish_with` inserts. Its aggregate is that row, whose id is not known yet.

    `payload` must be valid JSON. `priority`: INTERACTIVE events are delivered before BULK events.
    `available_at`: the event is not delivered before this time.
    """

    type: str
    aggregatetype: str
    payload: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    priority: int = INTERACTIVE
    available_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent(RowEvent):
    """An event to publish. `aggregateid`: the id of the changed object."""

    aggregateid: str | int


class Unreadable(ValueError):
    """The payload or the headers of an event cannot be read."""


class EventDecoder(json.JSONDecoder):
    """Reads payloads and headers for a person. Of what Python cannot read it gives the beginning."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except (ValueError, RecursionError):
            return {"unreadable": s[:200]}


class ClaimedEvent(NamedTuple):
    """A claimed event, as a handler gets it. `attempts` includes the current attempt.

    `is_repeated`: an earlier attempt may have begun and not ended, so that what it did outside may still take effect.
    """

    id: int
    aggregatetype: str
    aggregateid: str
    type: str
    payload: dict[str, Any]
    headers: dict[str, str]
    priority: int
    attempts: int
    created_at: datetime
    is_repeated: bool = False


class ClaimedRow(NamedTuple):
    """A claimed event as it travels to the worker: payload and headers are JSON text, which only the worker reads."""

    id: int
    aggregatetype: str
    aggregateid: str
    type: str
    payload: str
    headers: str
    priority: int
    attempts: int
    created_at: datetime
    # At most this many events are handled together with this one; None: any number.
    batch_limit: int | None

    def event(self) -> ClaimedEvent:
        """The event as its handler gets it. Raises Unreadable.

        A publisher that inserts rows by SQL may store what Python cannot read: an integer of more than 4,300 digits, or
        lists in lists in lists.
        """
        try:
            payload, headers = json.loads(self.payload), json.loads(self.headers)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"The payload or the headers cannot be read: {error}") from error
        if not isinstance(headers, dict):
            raise Unreadable("The headers are not a JSON object.")
        return ClaimedEvent(
            self.id,
            self.aggregatetype,
            self.aggregateid,
            self.type,
            payload,
            headers,
            self.priority,
            self.attempts,
            self.created_at,
            is_repeated=self.attempts > 1 or self.batch_limit is not None,
        )
