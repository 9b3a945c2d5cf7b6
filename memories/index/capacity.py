"""How many collections Chroma keeps open at once, and whether more are in use than that.

Chroma closes a collection to open another one. A collection that is closed while it is being written can lose a vector
of that moment, seen once in 35,000 writes with room for 64 of 83 busy collections and never where all of them fit. So
the room fits the machine, and where it is too small each write is read back.
"""

import logging
import resource
from time import monotonic

import psutil
from django.conf import settings

from memories.models import Generation

logger = logging.getLogger(__name__)

# What one open collection of some hundred memories costs.
BYTES_PER_COLLECTION = 3 * 2**20
FILES_PER_COLLECTION, OTHER_FILES = 4, 200
MEMORY_SHARE = 0.25
LEAST, MOST = 64, 4000
# Seconds for which a count of the collections and of the room for them is used, and between two warnings.
COUNT_SECONDS, WARNING_SECONDS = 5.0, 3600.0

# When they were counted, the collections, and the room for them.
_counted = (-COUNT_SECONDS, 0, 0)
_warned_at = -WARNING_SECONDS


def open_collections() -> int:
    """The room: CHROMA_OPEN_COLLECTIONS, or what a quarter of this machine's memory and its open files allow."""
    if settings.CHROMA_OPEN_COLLECTIONS:
        return int(settings.CHROMA_OPEN_COLLECTIONS)
    by_memory = int(psutil.virtual_memory().total * MEMORY_SHARE / BYTES_PER_COLLECTION)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    by_files = MOST if hard == resource.RLIM_INFINITY else (hard - OTHER_FILES) // FILES_PER_COLLECTION
    return max(LEAST, min(MOST, by_memory, by_files))


def is_exceeded() -> bool:
    """Whether there are more collections than fit. Counted every few seconds; says so in the log once an hour."""
    global _counted, _warned_at
    if settings.CHROMA_QUOTAS:
        return False  # a hosted Chroma closes no collection that way
    now = monotonic()
    if now - _counted[0] >= COUNT_SECONDS:
        _counted = now, Generation.objects.exclude(chroma_id=None).count(), open_collections()
    _, collections, room = _counted
    if collections > room and now - _warned_at >= WARNING_SECONDS:
        _warned_at = now
        logger.warning(
            "Chroma has %d collections and keeps %d open: each write is read back now, which costs time. Raise "
            "CHROMA_OPEN_COLLECTIONS, and `capacity` in the configuration of a Chroma server of your own.",
            collections,
            room,
        )
    return collections > room


def reset() -> None:
    """Count again at the next call, and warn again."""
    global _counted, _warned_at
    _counted, _warned_at = (-COUNT_SECONDS, 0, 0), -WARNING_SECONDS
