"""What each worker of this cluster has in hand, and how the workers ended that died.

It is memory that the processes of one cluster share. A worker writes its own place. The heartbeat writes all of them to
the database for the admin. The sentinel, which is the workers' parent, notes with which signal a worker ended.
"""

import ctypes
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any, NamedTuple

import psutil
from django_q.signals import post_execute_in_worker, post_spawn, pre_execute

from outbox.cluster import task_owners

# More workers than a cluster has, with those that died meanwhile.
PLACES = 256
# Ends that are remembered. The relay asks for one within a second.
ENDS = 64
LABEL_BYTES = 120


class _Place(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_longlong),
        ("since", ctypes.c_double),
        ("label", ctypes.c_char * LABEL_BYTES),
    ]


class _End(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_longlong), ("code", ctypes.c_int)]


class InHand(NamedTuple):
    """A living worker. `task`: what it handles, empty if it is idle. `seconds`: for how long."""

    pid: int
    task: str
    seconds: float


def text_of(label: bytes) -> str:
    """The label as text. Its worker may be writing it: then it has zero bytes, which PostgreSQL refuses in JSON."""
    return label.partition(b"\0")[0].decode(errors="ignore")


class Workers:
    """The shared memory. Create it in the process that forks the workers."""

    def __init__(self) -> None:
        self._places = RawArray(_Place, PLACES)
        self._ends = RawArray(_End, ENDS)
        self._ended = RawValue("q", 0)
        self._died = RawValue("q", 0)
        self._lock_file = tempfile.TemporaryFile()  # noqa: SIM115 - inherited by forks
        # The worker's own place.
        self._mine: Any = None

    def begin(self, label: str) -> None:
        """Note that this process handles something now. An empty label: it is idle."""
        place = self._place()
        if place is not None:
            place.label = label.encode()[: LABEL_BYTES - 1]
            place.since = time.monotonic()

    def in_hand(self) -> list[InHand]:
        """The living workers, in the order of their ids."""
        now = time.monotonic()
        return sorted(
            InHand(place.pid, text_of(place.label), round(max(0.0, now - place.since), 1))
            for place in self._places
            if place.pid and psutil.pid_exists(place.pid)
        )

    def is_another_idle(self) -> bool:
        """Whether a living worker other than this process has nothing in hand."""
        return any(
            place.pid and not place.label and place.pid != os.getpid() and psutil.pid_exists(place.pid)
            for place in self._places
        )

    def note_end(self, pid: int, code: int | None) -> None:
        """Remember the exit code of a process of this cluster. A negative code is a signal."""
        if code is not None:
            end = self._ends[self._ended.value % ENDS]
            end.code, end.pid = code, pid
            self._ended.value += 1
            self._died.value += code != 0

    @property
    def deaths(self) -> int:
        """How many processes of this cluster died so far: they ended with an exit code other than 0."""
        return int(self._died.value)

    def how_it_ended(self, pid: int) -> str:
        """A few words: "was killed (signal 9)", or "ended" if nothing is known."""
        codes = [end.code for end in self._ends if end.pid == pid]
        if not codes:
            return "ended"
        if codes[0] < 0:
            return f"was killed (signal {-codes[0]})"
        return f"ended with exit code {codes[0]}"

    def was_killed_by_nine(self, pid: int) -> bool:
        return any(end.pid == pid and end.code == -signal.SIGKILL for end in self._ends)

    def _place(self) -> Any:
        """The place of this process, which it takes at its first call. None if there is no room."""
        if self._mine is None or self._mine.pid != os.getpid():
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
            try:
                self._mine = next(
                    (place for place in self._places if not place.pid or not psutil.pid_exists(place.pid)),
                    None,
                )
                if self._mine is not None:
                    self._mine.label, self._mine.pid = b"", os.getpid()
            finally:
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN)
        return self._mine

    def __del__(self) -> None:
        self._lock_file.close()


_shared: Workers | None = None


def share() -> None:
    """Create the shared memory of this cluster. Call it in the sentinel, before it forks the workers."""
    global _shared
    _shared = Workers()
    post_spawn.connect(_idle, dispatch_uid="outbox_workers")
    pre_execute.connect(_begin, dispatch_uid="outbox_workers")
    post_execute_in_worker.connect(_idle, dispatch_uid="outbox_workers")
    _note_ends()


def shared() -> Workers | None:
    """The shared memory of this cluster. None outside of a cluster."""
    return _shared


def _begin(task: dict[str, Any], **_: Any) -> None:
    if _shared is not None:
        _shared.begin(str(task["name"]))


def _idle(**_: Any) -> None:
    if _shared is not None:
        _shared.begin("")


def _note_ends() -> None:
    """Have the sentinel note how a worker ended before it replaces it."""
    from django_q import cluster

    if not hasattr(cluster.Sentinel.reincarnate, "__wrapped__"):
        cluster.Sentinel.reincarnate = _noting(cluster.Sentinel.reincarnate)


def _noting(reincarnate: Callable[..., None]) -> Callable[..., None]:
    @wraps(reincarnate)
    def noting(sentinel: Any, process: Any) -> None:
        if _shared is not None:
            _shared.note_end(process.pid, process.exitcode)
        reincarnate(sentinel, process)
        if owners := task_owners.shared():
            # The relay frees the events of the dead worker.
            owners.bell.ring()

    return noting
