"""Writes that come at the same time, as one.

While one is on its way, those that come meanwhile wait for it to end, and then go together: they share the round
trips and the flush to the disk. Who comes alone goes at once.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

Item = TypeVar("Item")
Result = TypeVar("Result")


class PendingWrite(Generic[Item, Result]):
    """A write that waits. Without an outcome, once woken, it is for its own thread to do."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = Event()
        self.leads = False
        self.results: Sequence[Result] = ()
        self.error: Exception | None = None


class GroupCommit(Generic[Item, Result]):
    """`write` stores items, all or none, and returns what became of each."""

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._write = write
        self._lock = Lock()
        self._busy = False
        self._waiting: list[PendingWrite[Item, Result]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __call__(self, item: Item) -> Result:
        """What became of the item; an error is its own, or that of a database that does not answer."""
        turn: PendingWrite[Item, Result] = PendingWrite(item)
        with self._lock:
            self._waiting.append(turn)
            turn.leads, self._busy = not self._busy, True
        if not turn.leads:
            turn.woken.wait()
        if turn.leads:
            self._lead()
        if turn.error:
            raise turn.error
        return (turn.results or self._write([item]))[0]

    def _lead(self) -> None:
        with self._lock:
            turns, self._waiting = self._waiting, []
        try:
            self._settle(turns)
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                next_leader = self._waiting[:1]
            for turn in next_leader:
                turn.leads = True
            for turn in (*next_leader, *turns):
                turn.woken.set()

    def _settle(self, turns: Sequence[PendingWrite[Item, Result]]) -> None:
        try:
            results = self._write([turn.item for turn in turns])
        except (OperationalError, InterfaceError) as error:
            # It may have happened all the same: nobody tries again who was not asked to.
            for turn in turns:
                turn.error = error
        except Exception:
            # One of them cannot be stored: each goes alone, and learns which.
            return
        else:
            for turn, result in zip(turns, results, strict=True):
                turn.results = [result]
