"""Which worker has which task in hand, so that what one was killed with need not wait for its lease to run out.

The relay numbers the tasks it hands out; a worker writes its pid beside the number as long as it is at it. What nobody
has in hand, or was in hand in another cluster, or while the relay itself died, is left to the lease.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ctypes import Array, c_int64
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple
from uuid import UUID

import psutil

# More than are handed out between two looks; a pid each.
SLOTS = 65_536
NOBODY, DONE = 0, -1


class Assigned(NamedTuple):
    """The events of a task, and the claim they were taken with."""

    token: UUID
    ids: Collection[int]


_holders: "Array[c_int64] | None" = None
_assigned: dict[int, Assigned] = {}
# The next task's number. Shared, so that a relay which takes over from one that was killed does not begin anew: tasks
# that were handed out with its numbers are still on their way.
_next: c_int64 | None = None


def share() -> None:
    """Make what relay and workers share: to be called in the process that both are forked from."""
    global _holders, _next
    _holders, _next = RawArray(c_int64, SLOTS), RawValue(c_int64, 0)


def assign(token: UUID, ids: Collection[int]) -> int:
    """Remember what is handed out; returns the task's number. The relay's."""
    if _holders is None or _next is None:
        return 0
    number = _next.value
    _next.value += 1
    _holders[number % SLOTS] = NOBODY
    _assigned[number] = Assigned(token, ids)
    return number


@contextmanager
def running(number: int) -> Iterator[None]:
    """Have the task in hand as long as the block lasts. A worker's."""
    if _holders is None:
        yield
        return
    _holders[number % SLOTS] = os.getpid()
    try:
        yield
    finally:
        _holders[number % SLOTS] = DONE


def abandoned() -> list[Assigned]:
    """What workers had in hand that are no more, each once. The relay's."""
    if _holders is None:
        return []
    found = []
    for number in list(_assigned):
        holder = _holders[number % SLOTS]
        if holder == DONE:
            del _assigned[number]
        elif holder != NOBODY and not psutil.pid_exists(holder):
            found.append(_assigned.pop(number))
    return found
