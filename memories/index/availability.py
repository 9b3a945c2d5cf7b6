"""Whether Chroma is worth a call: a search must not wait for a server that is known to be down."""

import logging
from time import monotonic

from memories.index.client import DEPENDENCY
from outbox import Unavailable
from outbox.queue import circuits

logger = logging.getLogger(__name__)

# After a failed call this process does not call Chroma for this long.
PAUSE_SECONDS = 2.0
# The circuit, which the clusters open, is read from PostgreSQL at most this often.
CIRCUIT_CHECK_SECONDS = 1.0

_unavailable_until = 0.0
_circuit_checked_at = 0.0
_circuit_is_open = False


def is_available() -> bool:
    """False during the pause after a failed call, and while the clusters' circuit is open."""
    global _circuit_checked_at, _circuit_is_open
    now = monotonic()
    if now < _unavailable_until:
        return False
    if now - _circuit_checked_at > CIRCUIT_CHECK_SECONDS:
        _circuit_is_open = circuits.is_open(DEPENDENCY)
        _circuit_checked_at = now
    return not _circuit_is_open


def mark_unavailable(error: Unavailable) -> None:
    """Start the pause, because a call failed with `error`."""
    global _unavailable_until
    _unavailable_until = monotonic() + PAUSE_SECONDS
    logger.warning("Searching in PostgreSQL: %s", error)


def reset() -> None:
    """End the pause, and read the circuit again at the next call."""
    global _unavailable_until, _circuit_checked_at
    _unavailable_until = _circuit_checked_at = 0.0
