"""The sentinel replaces a dead process at once.

django-q2's sentinel looks at its processes once a second. For up to a second the cluster had a worker less, and the
events that the dead worker had in hand waited.
"""

import time
from functools import wraps
from multiprocessing.process import BaseProcess
from typing import Any

from outbox.cluster import shutdown
from outbox.cluster.ipc import is_any_readable

# Seconds after which the sentinel notices that the cluster was told to stop.
SLICE_SECONDS = 0.1
DYING_SECONDS = 0.005


class Guard:
    """Stands in for the stop event that the sentinel's loop waits for, between two looks at its processes."""

    def __init__(self, sentinel: Any) -> None:
        self._sentinel = sentinel

    def wait(self, seconds: float) -> bool:
        """Replace the processes that die in this time. Returns whether the cluster was told to stop.

        At most as many as there are workers: processes that die as soon as they start must not keep the machine busy.
        """
        until = time.monotonic() + seconds
        room = self._sentinel.pool_size
        while not (stopping := shutdown.is_stopping()) and (left := until - time.monotonic()) > 0:
            watched = [process.sentinel for process in self._processes()] if room > 0 else []
            if is_any_readable(watched, min(left, SLICE_SECONDS)):
                replaced = self._replace_dead()
                room -= replaced
                if not replaced:
                    # The process has closed its files, and is not gone yet.
                    time.sleep(DYING_SECONDS)
        return stopping

    def is_set(self) -> bool:
        """Whether the cluster was told to stop."""
        return shutdown.is_stopping()

    def _replace_dead(self) -> int:
        dead = [process for process in self._processes() if not process.is_alive()]
        for process in dead:
            self._sentinel.reincarnate(process)
        return len(dead)

    def _processes(self) -> list[BaseProcess]:
        return [*self._sentinel.pool, self._sentinel.monitor, self._sentinel.pusher]


def install() -> None:
    """Have the loop of this process's sentinel wait with a guard. Call it before the loop begins."""
    from django_q import cluster

    if not hasattr(cluster.Sentinel.guard, "__wrapped__"):
        cluster.Sentinel.guard = _guarded(cluster.Sentinel.guard)


def _guarded(loop: Any) -> Any:
    @wraps(loop)
    def guarded(sentinel: Any) -> None:
        sentinel.stop_event = Guard(sentinel)
        loop(sentinel)

    return guarded
