"""The header `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/).

It travels in an event's headers, so that one trace covers a request and every delivery that the request caused.
"""

import re
import secrets
from typing import NamedTuple

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
SAMPLED = 0x01


class TraceParent(NamedTuple):
    """`trace_id`: 32 hex digits that name the trace. `parent_id`: 16 hex digits that name the calling step."""

    trace_id: str
    parent_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.parent_id}-{SAMPLED if self.sampled else 0:02x}"

    def child(self) -> "TraceParent":
        """The next step of the same trace."""
        return self._replace(parent_id=secrets.token_hex(8))


def parse(header: str | None) -> TraceParent | None:
    """Read the header; None if it is missing or does not follow the specification."""
    found = _SHAPE.fullmatch((header or "").strip())
    if not found:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    # A later version may append fields, version 00 may not. Version ff and ids of zeros are invalid.
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return TraceParent(trace_id, parent_id, bool(int(flags, 16) & SAMPLED))


def begin() -> TraceParent:
    """Start a new trace. It is sampled, because the outbox keeps the events that carry it."""
    return TraceParent(secrets.token_hex(16), secrets.token_hex(8), sampled=True)
