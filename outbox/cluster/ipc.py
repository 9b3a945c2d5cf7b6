"""Communication between the cluster's processes. The death of one process blocks no other.

django-q2 uses multiprocessing's queues and values, and a killed process never releases their locks. A worker holds
such a lock while it waits for a task. If it is killed then (out of memory, `kill -9`), no other worker ever gets a task
again (django-q2's issues 23 and 339). Here the kernel does the locking, and it releases the locks of a dead process.
"""

import fcntl
import logging
import math
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

# The largest message in bytes. A larger object goes into a file, and the message carries the file's descriptor. On
# macOS messages are short.
INLINE = 16_384 if sys.platform == "linux" else 2_000
# Bytes that a socket buffers. The default of macOS is too small.
BUFFER = 262_144
# Seconds that a worker waits until the monitor takes its result. Meanwhile the worker holds its timer's lock, and the
# sentinel, which replaces a dead monitor, may be waiting for that lock.
PUT_SECONDS = 5.0


def is_readable(file: socket.socket | int, seconds: float) -> bool:
    """Whether a file has data within `seconds`. `select()` fails in a process with more than 1,024 open files."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(math.ceil(seconds * 1000)))


class Queue:
    """A queue of objects. Each object is one message of a socket, which the kernel gives to one waiting process.

    `put` sends the message itself. multiprocessing's queue wakes a thread for it, and must join that thread at the end.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._out, self._in = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._in.settimeout(None if maxsize else PUT_SECONDS)
        # A consumer releases it before it waits. If it dies while it waits, the queue has one place too many. If it
        # released it afterwards, a queue could stay full for ever.
        self._room = Semaphore(maxsize) if maxsize else None

    def put(self, obj: Any) -> None:
        """Send an object as soon as there is room.

        Drops an object that cannot be pickled, so that the worker survives a task that returns one. A queue without a
        limit also drops an object that no process takes within PUT_SECONDS.
        """
        try:
            data = pickle.dumps(obj, pickle.HIGHEST_PROTOCOL)
        except Exception:
            logger.exception("The result of a task is lost: it cannot be pickled. A queued task runs again.")
            return
        if self._room:
            self._room.acquire()
        try:
            self._send(data)
        except TimeoutError:
            # The result of an outbox task holds nothing to record.
            logger.error(
                "The result of a task is lost: the monitor did not take it. A queued task runs again."
            )

    def get(self) -> Any:
        """Wait for an object and return it."""
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
        return not is_readable(self._out, 0)

    def qsize(self) -> int:
        """1 if there are any objects: the kernel does not count them. django-q2 displays this number."""
        return int(not self.empty())

    def close(self) -> None:
        """Nothing to do: every object has been sent."""

    join_thread = close

    def __del__(self) -> None:
        self._out.close()
        self._in.close()


class SharedTimer:
    """A number that a worker and the sentinel share, with a lock that the kernel releases when its holder dies."""

    def __init__(self, typecode: str, value: float) -> None:
        self._value = RawValue(typecode, value)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the timer exists

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
    """A lock-free flag. `multiprocessing.Event.is_set()` takes a lock, and a killed process never releases it."""

    def __init__(self) -> None:
        self._value = RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


class Packages:
    """Opens the packages of tasks for the pusher. A package from the pusher's own process carries no signature."""

    @staticmethod
    def loads(package: str | dict[str, Any]) -> Any:
        """The task. Raises BadSignature if a package from another process is not signed with the project's key."""
        return package if isinstance(package, dict) else SignedPackage.loads(package)


def install() -> None:
    """Replace the names in django-q2, which has no setting for them.

    Call it in the sentinel, before the sentinel creates its queues: that is where it creates its broker.
    """
    from django_q import cluster, pusher

    cluster.Queue, cluster.Value, cluster.Event, pusher.SignedPackage = (
        Queue,
        SharedTimer,
        SharedFlag,
        Packages,
    )
