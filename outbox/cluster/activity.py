"""How many events of each type this cluster delivered: counted in shared memory, written to a row a minute.

Without it, a page that draws the last half hour would read every event that was delivered in that time.
"""

import ctypes
from collections.abc import Sequence
from multiprocessing.sharedctypes import RawArray
from typing import Any

from outbox import signals
from outbox.cluster.kernel_lock import KernelLock
from outbox.events import ClaimedEvent

# More event types than a project has. Those that find no room are not counted.
TYPES = 256
NAME_BYTES = 120


class _Counter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_longlong), ("name", ctypes.c_char * NAME_BYTES)]


class Activity:
    """The shared memory. Create it in the process that forks the workers and the monitor."""

    def __init__(self) -> None:
        self._counters = RawArray(_Counter, TYPES)
        self._lock = KernelLock()

    def add(self, type: str, count: int) -> None:
        """Count delivered events of a type."""
        name = type.encode()[: NAME_BYTES - 1]
        with self._lock.held():
            for counter in self._counters:
                if counter.name == name or not counter.name:
                    counter.name = name
                    counter.count += count
                    return

    def take(self) -> dict[str, int]:
        """The counts since the last call, by type, without those that are 0."""
        found = {}
        with self._lock.held():
            for counter in self._counters:
                if not counter.name:
                    break
                if counter.count:
                    found[counter.name.decode(errors="ignore")] = counter.count
                    counter.count = 0
        return found


_shared: Activity | None = None


def share() -> None:
    """Create the shared memory of this cluster. Call it in the sentinel, before it forks the other processes."""
    global _shared
    _shared = Activity()
    signals.settled.connect(_count, dispatch_uid="outbox_activity")


def shared() -> Activity | None:
    """The shared memory of this cluster. None outside of a cluster."""
    return _shared


def _count(*, outcome: str, events: Sequence[ClaimedEvent], **_: Any) -> None:
    if _shared is not None and outcome == "delivered":
        _shared.add(events[0].type, len(events))
