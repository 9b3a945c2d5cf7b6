"""One update, as clients receive it."""

import json
from dataclasses import dataclass

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
        """The update for a recorded event."""
        payload = json.loads(event.payload)
        body = {"id": str(event.position), "type": event.type, **payload, "at": event.created_at.isoformat()}
        return cls(event.position, event.type, payload["user_id"], payload["project_id"], json.dumps(body))
