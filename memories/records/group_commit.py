"""Group commit: concurrent writes share one statement, so they share the round trips and the flush to disk.

While one statement runs, the writes that arrive wait. When it ends, they go together in the next statement. A write
that arrives alone goes at once.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

Item = TypeVar("Item")
Result = TypeVar("Result")


class PendingWrite(Generic[Item, Result]):
    """A write that waits for its turn.

    Its thread is woken with a result, with an error, or with `leads` set: then this thread runs the next statement.
    A thread that is woken with none of them writes its item itself.
    """

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = Event()
        self.leads = False
        self.results: Sequence[Result] = ()
        self.error: Exception | None = None


class GroupCommit(Generic[Item, Result]):
    """Calls of many threads, grouped. `write` stores all items it is given, or none, and returns a result for each."""

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._write = write
        self._lock = Lock()
        self._busy = False
        self._waiting: list[PendingWrite[Item, Result]] = []

    @property
    def waiting(self) -> int:
        """How many writes wait for the statement that runs now."""
        return len(self._waiting)

    def __call__(self, item: Item) -> Result:
        """Store the item and return its result.

        Raises what `write` raises for this item alone, or the error of a database that does not answer.
        """
        pending: PendingWrite[Item, Result] = PendingWrite(item)
        with self._lock:
            self._waiting.append(pending)
            pending.leads, self._busy = not self._busy, True
        if not pending.leads:
            pending.woken.wait()
        if pending.leads:
            self._lead()
        if pending.error:
            raise pending.error
        return (pending.results or self._write([item]))[0]

    def _lead(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self._write_group(group)
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                next_leader = self._waiting[:1]
            for pending in next_leader:
                pending.leads = True
            for pending in (*next_leader, *group):
                pending.woken.set()

    def _write_group(self, group: Sequence[PendingWrite[Item, Result]]) -> None:
        try:
            results = self._write([pending.item for pending in group])
        except (OperationalError, InterfaceError) as error:
            # The commit may have happened. Only the client can decide to send it again.
            for pending in group:
                pending.error = error
        except Exception:
            # One item cannot be stored. Each thread now writes its own item, and so the error reaches the right one.
            return
        else:
            for pending, result in zip(group, results, strict=True):
                pending.results = [result]
