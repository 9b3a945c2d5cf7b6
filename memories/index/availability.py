"""Whether it is worth asking Chroma: a search must not wait for what is known to be away."""

import logging
from time import monotonic

from memories.index.client import DEPENDENCY
from outbox import Unavailable
from outbox.queue import circuits

logger = logging.getLogger(__name__)

# After a call that failed, this process leaves Chroma alone for so long.
PAUSE_SECONDS = 2.0
# What the clusters found (an open circuit) is read this often.
LOOK_SECONDS = 1.0

_away_until = 0.0
_looked_at = 0.0
_circuit_is_open = False


def seems_there() -> bool:
    """False in the pause after a failed call, and while the clusters' circuit is open."""
    global _looked_at, _circuit_is_open
    now = monotonic()
    if now < _away_until:
        return False
    if now - _looked_at > LOOK_SECONDS:
        _circuit_is_open = circuits.is_open(DEPENDENCY)
        _looked_at = now
    return not _circuit_is_open


def went_away(error: Unavailable) -> None:
    global _away_until
    _away_until = monotonic() + PAUSE_SECONDS
    logger.warning("Searching in PostgreSQL: %s", error)


def forget() -> None:
    """Ask again at once."""
    global _away_until, _looked_at
    _away_until = _looked_at = 0.0
