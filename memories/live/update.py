"""One update, as clients receive it."""

import json
from dataclasses import dataclass
from typing import Any

from outbox.queue.stream import Position, Recorded


@dataclass(frozen=True, slots=True)
class Update:
    """`data`: the JSON object that is sent. It is made once for all clients. `position`: where to continue from."""

    position: Position
    type: str
    user_id: str
    project_id: str
    data: str

    @classmethod
    def of(cls, event: Recorded) -> "Update":
        """The update for a recorded event.

        An event whose payload cannot be read or names no tenant, as somebody's SQL may write it, is nobody's: it must
        not stop the stream of all clients.
        """
        payload = _read(event.payload)
        body = {"id": str(event.position), "type": event.type, **payload, "at": event.created_at.isoformat()}
        user_id, project_id = (str(payload.get(name) or "") for name in ("user_id", "project_id"))
        return cls(event.position, event.type, user_id, project_id, json.dumps(body))


def _read(payload: str) -> dict[str, Any]:
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
