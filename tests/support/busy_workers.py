"""Processes that have something in hand, as the shared memory of a cluster shows it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from outbox.cluster.ipc import Queue
from outbox.cluster.workers import Workers

forking = multiprocessing.get_context("fork")


@contextmanager
def worker(known: Workers, label: str) -> Iterator[int]:
    """A process that has this in hand; yields its id."""
    began = Queue()

    def work() -> None:
        known.begin(label)
        began.put(os.getpid())
        signal.pause()

    running = forking.Process(target=work)
    running.start()
    try:
        yield began.get()
    finally:
        running.kill()
        running.join()
