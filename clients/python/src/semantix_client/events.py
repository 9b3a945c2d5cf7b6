"""Reading server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import json

from semantix_client.models import Event


class EventParser:
    """Takes the lines of a stream; gives an event at the blank line that ends it. `last_id` is where to resume."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self._type, self._data = "", [""]
        self._data.clear()

    def feed(self, line: str) -> Event | None:
        """The event that this line completes, if it does."""
        if line:
            self._take(line)
            return None
        type, data = self._type, "\n".join(self._data)
        self._type = ""
        self._data.clear()
        if not data:
            return None
        body = json.loads(data)
        return Event(id=self.last_id or "", type=type, memory_id=body.get("memory_id"), data=body)

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self.last_id = value
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
