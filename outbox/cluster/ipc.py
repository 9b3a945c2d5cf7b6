"""What the cluster's processes share, made so that the death of one holds up no other.

django-q2 takes multiprocessing's queues and values, whose locks outlive who holds them. A worker that waits for a task
holds one all the while: killed then (out of memory, `kill -9`), it takes it along, and no other worker is ever given a
task again (django-q2's issues 23 and 339). Here the kernel does what those locks were for, and it knows who is dead.
"""

import fcntl
import logging
import pickle
import select
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Semaphore
from multiprocessing.sharedctypes import RawValue
from typing import Any

from django_q.signing import SignedPackage

logger = logging.getLogger(__name__)

# Bytes that travel in a message. More go into a file, and the message carries its descriptor. (macOS' messages are
# short, and its queues of them, too, unless told otherwise.)
INLINE = 16_384 if sys.platform == "linux" else 2_000
ROOM = 262_144
# Seconds that a worker waits to get rid of a result. It holds its timer's lock meanwhile, for which the sentinel may be
# waiting, and that is who replaces a monitor that died.
PATIENCE = 5.0


class Queue:
    """Of messages, an object each: the kernel gives each, whole, to one of those who wait.

    Sent by who puts it, not by a thread that has to be woken for it first, and waited for at the end.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._out, self._in = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        self._in.settimeout(None if maxsize else PATIENCE)
        # Made by who is about to wait, not by who was given something: one that dies on the way leaves room for
        # one more, and not a queue that is full for ever.
        self._room = Semaphore(maxsize) if maxsize else None

    def put(self, obj: Any) -> None:
        """Send an object, as soon as there is room. Where there is no limit, and nobody takes any, it is dropped, as
        is what cannot be sent: a worker outlives a task that returns such a thing."""
        try:
            data = pickle.dumps(obj, pickle.HIGHEST_PROTOCOL)
        except Exception:
            logger.exception(
                "A task's result is dropped, it cannot be pickled; if it was queued, it runs again"
            )
            return
        if self._room:
            self._room.acquire()
        try:
            self._send(data)
        except TimeoutError:
            # Of the outbox' own there is nothing to record.
            logger.error(
                "A task's result is dropped, the monitor does not take it; if it was queued, it runs again"
            )

    def get(self) -> Any:
        """Wait for an object."""
        if self._room:
            self._room.release()
        data, descriptors, _, _ = socket.recv_fds(self._out, INLINE, 1)
        if not descriptors:
            return pickle.loads(data)
        with open(descriptors[0], "rb") as file:
            return pickle.load(file)

    def _send(self, data: bytes) -> None:
        if len(data) <= INLINE:
            self._in.send(data)
            return
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            socket.send_fds(self._in, [b"file"], [file.fileno()])

    def empty(self) -> bool:
        return not select.select([self._out], [], [], 0)[0]

    def qsize(self) -> int:
        """One, when there are any: nobody counts them. django-q2 shows it."""
        return int(not self.empty())

    def close(self) -> None:
        """Nothing to do: what was put is on its way."""

    join_thread = close

    def __del__(self) -> None:
        self._out.close()
        self._in.close()


class SharedTimer:
    """A number that a worker and the sentinel share, and a lock that is free again when its holder dies."""

    def __init__(self, typecode: str, value: float) -> None:
        self._value = RawValue(typecode, value)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the timer is there

    @property
    def value(self) -> float:
        return float(self._value.value)

    @value.setter
    def value(self, value: float) -> None:
        self._value.value = value

    @contextmanager
    def get_lock(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __del__(self) -> None:
        self._file.close()


class SharedFlag:
    """Set once, and looked at, by nobody who waits. Who looks at an event of multiprocessing has its lock meanwhile."""

    def __init__(self) -> None:
        self._value = RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


class Packages:
    """What the pusher opens a task with. One that comes from its own process is signed by nobody, nor need it be."""

    @staticmethod
    def loads(package: str | dict[str, Any]) -> Any:
        return package if isinstance(package, dict) else SignedPackage.loads(package)


def install() -> None:
    """Make the cluster of this process use them: it has no setting for that. To be called in its sentinel before that
    makes the queues, and so where it makes its broker."""
    from django_q import cluster, pusher

    cluster.Queue, cluster.Value, cluster.Event, pusher.SignedPackage = (
        Queue,
        SharedTimer,
        SharedFlag,
        Packages,
    )
