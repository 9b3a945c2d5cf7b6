"""Which worker runs which task, so that the events of a killed worker need not wait until their lease expires.

The relay numbers the tasks. A worker writes its pid into the task's slot while it runs the task. The lease covers
everything else: a task that no worker has begun, a task of another cluster, and a task of a relay that died.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ctypes import Array, c_int64
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple
from uuid import UUID

import psutil

# More tasks than can be unfinished at once. A slot holds a worker's pid.
SLOTS = 65_536
NOT_BEGUN, DONE = 0, -1


class Assigned(NamedTuple):
    """The events of a task, and the token of their claim."""

    token: UUID
    ids: Collection[int]


_owners: "Array[c_int64] | None" = None
_assigned: dict[int, Assigned] = {}
# The number of the next task. It is shared, so that the successor of a killed relay does not reuse the numbers of
# tasks that are still in the cluster's queue.
_next: c_int64 | None = None


def share() -> None:
    """Create the memory that the relay and the workers share. Call it in the process that forks both."""
    global _owners, _next
    _owners, _next = RawArray(c_int64, SLOTS), RawValue(c_int64, 0)


def assign(token: UUID, ids: Collection[int]) -> int:
    """Remember the events of a new task and return the task's number. The relay calls it."""
    if _owners is None or _next is None:
        return 0
    number = _next.value
    _next.value += 1
    _owners[number % SLOTS] = NOT_BEGUN
    _assigned[number] = Assigned(token, ids)
    return number


@contextmanager
def running(number: int) -> Iterator[None]:
    """Own the task while the block runs. A worker calls it."""
    if _owners is None:
        yield
        return
    _owners[number % SLOTS] = os.getpid()
    try:
        yield
    finally:
        _owners[number % SLOTS] = DONE


def abandoned() -> list[Assigned]:
    """The tasks whose worker died while it ran them. Returns each of them once. The relay calls it."""
    if _owners is None:
        return []
    found = []
    for number in list(_assigned):
        owner = _owners[number % SLOTS]
        if owner == DONE:
            del _assigned[number]
        elif owner != NOT_BEGUN and not psutil.pid_exists(owner):
            found.append(_assigned.pop(number))
    return found
