"""Returns the events of a task that wait behind a slow call of a handler, so that other workers handle them.

A call may hang until the task's timeout. The worker has one thread for this, which sleeps between two deliveries. It
opens a connection to the database only while it returns events.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.db import connection

from outbox.cluster import workers

logger = logging.getLogger(__name__)

# Seconds of a call after which the events behind it are returned, if another worker of this cluster is idle.
SLOW_SECONDS = 0.1
# The same if all are busy: the events may wait less long in a task of their own, or in another cluster. Returning them
# costs two statements, which is nothing beside a call of this length.
VERY_SLOW_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Watchable(Protocol):
    """A running delivery."""

    @property
    def seconds_of_call(self) -> float: ...

    def return_waiting(self, seconds: float) -> int: ...


class Watch:
    """The thread of a worker, which starts with the first delivery that is watched."""

    def __init__(self) -> None:
        self._delivery: Watchable | None = None
        self._is_wanted = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, delivery: Watchable) -> Iterator[None]:
        """Watch the delivery while the block runs. One at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outbox watch", daemon=True)
            self._thread.start()
        self._delivery = delivery
        self._is_wanted.set()
        try:
            yield
        finally:
            self._delivery = None

    def _run(self) -> None:
        while self._is_wanted.wait():
            self._is_wanted.clear()
            while (delivery := self._delivery) is not None:
                time.sleep(LOOK_SECONDS)
                look(delivery)


def look(delivery: Watchable) -> None:
    """Return the events that wait if the delivery's current call is slow."""
    if delivery.seconds_of_call < SLOW_SECONDS:
        return
    known = workers.shared()
    is_another_idle = known is not None and known.is_another_idle()
    try:
        if count := delivery.return_waiting(SLOW_SECONDS if is_another_idle else VERY_SLOW_SECONDS):
            logger.info("%d events were returned: they waited behind a slow one.", count)
    except Exception:
        logger.exception("The events behind a slow one could not be returned. They wait for it.")
    finally:
        connection.close()


_watch = Watch()


@contextmanager
def watching(delivery: Watchable) -> Iterator[None]:
    """Watch this delivery while the block runs. Outside of a cluster nothing happens: no other worker is known."""
    if workers.shared() is None:
        yield
        return
    with _watch.watching(delivery):
        yield
