"""Recording in the background: one statement for the events of many requests, and none in their own time."""

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from outbox.publishing.record import row_of, write

logger = logging.getLogger(__name__)

# Events that come within this time are written together.
GROUP_SECONDS = 0.05
# The most events in one statement, and the most that wait. More are dropped: they only tell of what was done.
GROUP, WAITING = 500, 10_000
# The thread closes its connection when it had nothing to write for so long.
IDLE_SECONDS = 1.0

Row = dict[str, str]


class Recorder:
    """The queue and the thread of one process."""

    def __init__(self) -> None:
        self._rows: queue.Queue[Row] = queue.Queue(WAITING)
        self._pid = os.getpid()
        threading.Thread(target=self._run, name="outbox recorder", daemon=True).start()

    @property
    def is_of_this_process(self) -> bool:
        """A fork has the queue and not the thread."""
        return self._pid == os.getpid()

    def put(self, row: Row) -> None:
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            logger.warning(
                "An event of type %s is not recorded: %d wait to be written.", row["type"], WAITING
            )

    def join(self, seconds: float) -> bool:
        """Wait until every event that was put is written or dropped. Returns whether that is so."""
        with self._rows.all_tasks_done:
            return self._rows.all_tasks_done.wait_for(lambda: not self._rows.unfinished_tasks, seconds)

    def _run(self) -> None:
        while True:
            try:
                first = self._rows.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                connection.close()
                first = self._rows.get()
            time.sleep(GROUP_SECONDS)
            rows = [first, *self._more()]
            try:
                self._write(rows)
            finally:
                for _ in rows:
                    self._rows.task_done()

    def _more(self) -> list[Row]:
        found: list[Row] = []
        while len(found) < GROUP - 1:
            try:
                found.append(self._rows.get_nowait())
            except queue.Empty:
                break
        return found

    @staticmethod
    def _write(rows: list[Row]) -> None:
        try:
            write(rows)
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            what = f"{len(rows)} events are" if len(rows) > 1 else "1 event is"
            logger.warning("%s not recorded: %s", what, error)


_recorder: Recorder | None = None
_lock = threading.Lock()


def record_soon(type: str, *, aggregate: tuple[str, str | int], payload: Mapping[str, Any]) -> None:
    """Record an event of an action that changed nothing, with others, a moment after the call.

    The caller waits for no statement. A killed process loses the events of the last moment. Not for an event that
    belongs to a transaction.

    Raises what `record` raises for a wrong type or payload.
    """
    row = row_of(type, aggregate, payload)
    _of_this_process().put(row)


def flush(seconds: float = 5.0) -> bool:
    """Wait until all events of this process are written. Returns whether they are after so many seconds."""
    return _recorder is None or not _recorder.is_of_this_process or _recorder.join(seconds)


def _of_this_process() -> Recorder:
    global _recorder
    with _lock:
        if _recorder is None or not _recorder.is_of_this_process:
            _recorder = Recorder()
            atexit.register(flush)
        return _recorder
