"""An update as clients get it, made once for all of them."""

import json
from dataclasses import dataclass

from outbox.queue.stream import Position, Recorded


@dataclass(frozen=True, slots=True)
class Update:
    """`data` is the JSON object that is sent; `position` is where to go on from."""

    position: Position
    type: str
    user_id: str
    project_id: str
    data: str

    @classmethod
    def of(cls, event: Recorded) -> "Update":
        payload = json.loads(event.payload)
        told = {"id": str(event.position), "type": event.type, **payload, "at": event.created_at.isoformat()}
        return cls(event.position, event.type, payload["user_id"], payload["project_id"], json.dumps(told))
