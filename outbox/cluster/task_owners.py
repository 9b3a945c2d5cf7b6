"""Which worker runs which task, and which of its events it handles now.

The relay numbers the tasks. A worker takes the ownership of a task when it begins it, and notes the events of each
call of a handler. So the relay knows exactly what a killed worker had begun. The successor of a killed relay knows it
too: it reads the journal, and revokes every task that no worker has begun.

All of it is memory that the processes of one cluster share. Nothing is written to the database.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple
from uuid import UUID

import psutil

from outbox.cluster.ipc import Bell
from outbox.cluster.journal import Journal, Record
from outbox.cluster.kernel_lock import KernelLock

# More tasks than can be unfinished at once.
SLOTS = 65_536
# The states of a task, besides the pid of the worker that runs it. FAILED: the worker could not record its outcome.
NOT_BEGUN, DONE, REVOKED, FAILED = 0, -1, -2, -3
# Bytes of the journal after which the finished tasks are removed from it.
REWRITE_BYTES = 1_000_000


class Abandoned(NamedTuple):
    """A task whose worker died: the events that the worker handled together when it died, and the other events.

    `worker`: the process id of the worker; None if it lives, and could not record the outcome.
    """

    token: UUID
    in_hand: list[int]
    others: list[int]
    worker: int | None = None


class TaskOwners:
    """The shared memory. Create it in the process that forks the relay and the workers."""

    def __init__(self) -> None:
        self._states = RawArray("q", SLOTS)
        self._starts = RawArray("i", SLOTS)
        self._sizes = RawArray("i", SLOTS)
        # The number of the next task. A successor continues the numbers: tasks with the former ones are in the queue.
        self._next = RawValue("q", 0)
        self._relay_pid = RawValue("q", 0)
        self._lock = KernelLock()
        self._journal = Journal()
        # Rings when a worker died, or ended a task of suspects: the relay has something to do.
        self.bell = Bell()
        # The relay's own: the unfinished tasks, and the numbers of those that carry a dangerous event.
        self._assigned: dict[int, Record] = {}
        self._dangerous: set[int] = set()

    def assign(self, token: UUID, ids: list[int], *, dangerous: bool = False) -> int:
        """Remember a new task with these events, in the order of their delivery. Returns its number.

        `dangerous`: its only event ended a worker before.
        """
        number = int(self._next.value)
        self._next.value += 1
        self._states[number % SLOTS] = NOT_BEGUN
        self._sizes[number % SLOTS] = 0
        record = self._assigned[number] = Record(number, token, ids)
        if dangerous:
            self._dangerous.add(number)
        self._journal.append(record)
        return number

    def count_dangerous(self) -> int:
        """How many tasks with a dangerous event are unfinished."""
        self._dangerous = {number for number in self._dangerous if self._is_unfinished(number)}
        return len(self._dangerous)

    @contextmanager
    def running(self, number: int) -> Iterator[bool]:
        """Own the task while the block runs. Yields whether this worker may run it."""
        slot = number % SLOTS
        with self._lock.held():
            mine = self._states[slot] == NOT_BEGUN
            if mine:
                self._states[slot] = os.getpid()
        if not mine:
            yield False
            return
        state = FAILED
        try:
            yield True
            state = DONE
        except SystemExit:
            # django-q2's timeout. The delivery recorded the outcome.
            state = DONE
            raise
        finally:
            self._states[slot] = state

    def begin_unit(self, number: int, start: int, size: int) -> None:
        """Note that the worker handles these events of the task now. A size of 0: none."""
        slot = number % SLOTS
        self._sizes[slot] = 0
        self._starts[slot] = start
        self._sizes[slot] = size

    def abandoned(self) -> list[Abandoned]:
        """The tasks whose worker died or could not record the outcome. Returns each of them once."""
        found = []
        for number, record in list(self._assigned.items()):
            state = self._states[number % SLOTS]
            if state in (DONE, REVOKED):
                del self._assigned[number]
            elif state == FAILED or (state != NOT_BEGUN and not psutil.pid_exists(state)):
                del self._assigned[number]
                found.append(self._abandoned(record, None if state == FAILED else state))
        if self._journal.length > REWRITE_BYTES:
            self._journal.rewrite(self._assigned.values())
        return found

    def revoke_waiting(self) -> bool:
        """Revoke the tasks that no worker has begun. Returns whether there are any.

        Call it after the death of a worker. The worker may have taken one of them from the queue without beginning it,
        and nobody knows which one. A worker that takes a revoked task drops it.
        """
        waiting = [number for number in self._assigned if self._states[number % SLOTS] == NOT_BEGUN]
        if waiting:
            with self._lock.held():
                self._assigned = self._kept(self._assigned.values())
        return bool(waiting)

    def take_over(self) -> bool:
        """Make this process the relay. Returns whether another process was the relay before.

        Then the tasks that no worker has begun are revoked. Those that are running stay.
        """
        if self._relay_pid.value == os.getpid():
            return False
        is_successor = bool(self._relay_pid.value)
        self._relay_pid.value = os.getpid()
        self._assigned = {}
        if is_successor:
            with self._lock.held():
                self._assigned = self._kept(self._journal.read())
            self._journal.rewrite(self._assigned.values())
        return is_successor

    def assigned(self) -> list[tuple[UUID, int]]:
        """The events of all unfinished tasks, each with the token of its claim.

        The journal still has the task of a worker that died long ago. An event of it may have been claimed again.
        """
        return [(record.token, id) for record in self._assigned.values() for id in record.ids]

    def _is_unfinished(self, number: int) -> bool:
        return number in self._assigned and self._states[number % SLOTS] not in (DONE, REVOKED)

    def _kept(self, records: Iterable[Record]) -> dict[int, Record]:
        return {record.number: record for record in records if self._keep(record)}

    def _keep(self, record: Record) -> bool:
        """Whether a worker has begun the task. Revokes it if not."""
        slot = record.number % SLOTS
        if self._states[slot] == NOT_BEGUN:
            self._states[slot] = REVOKED
        return self._states[slot] not in (DONE, REVOKED)

    def _abandoned(self, record: Record, worker: int | None) -> Abandoned:
        slot = record.number % SLOTS
        start, end = self._starts[slot], self._starts[slot] + self._sizes[slot]
        return Abandoned(record.token, record.ids[start:end], record.ids[:start] + record.ids[end:], worker)


_shared: TaskOwners | None = None


def share() -> None:
    """Create the shared memory of this cluster. Call it in the process that forks the relay and the workers."""
    global _shared
    _shared = TaskOwners()


def shared() -> TaskOwners | None:
    """The shared memory of this cluster. None outside of a cluster."""
    return _shared
