"""Communication between the cluster's processes. The death of one process blocks no other.

django-q2 uses multiprocessing's queues and values, and a killed process never releases their locks. A worker holds
such a lock while it waits for a task. If it is killed then (out of memory, `kill -9`), no other worker ever gets a task
again (django-q2's issues 23 and 339). Here the kernel does the locking, and it releases the locks of a dead process.
"""

import logging
import math
import os
import pickle
import select
import socket
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from multiprocessing.sharedctypes import RawValue
from typing import Any, Protocol

from django_q.signing import SignedPackage

from outbox.cluster.kernel_lock import KernelLock

logger = logging.getLogger(__name__)

# The largest message in bytes. A larger object goes into a file, and the message carries the file's descriptor. On
# macOS messages are short.
INLINE = 16_384 if sys.platform == "linux" else 2_000
# Bytes that a socket buffers. The default of macOS is too small.
BUFFER = 262_144
# Seconds that a worker waits until the monitor takes its result. Meanwhile the worker holds its timer's lock, and the
# sentinel, which replaces a dead monitor, may be waiting for that lock.
PUT_SECONDS = 5.0


class HasFileno(Protocol):
    """A file, a socket, or anything else that the kernel can wait for."""

    def fileno(self) -> int: ...


def is_readable(file: HasFileno | int, seconds: float) -> bool:
    """Whether a file has data within `seconds`; math.inf waits for ever."""
    return is_any_readable([file], seconds)


def is_any_readable(files: Iterable[HasFileno | int], seconds: float) -> bool:
    """Whether one of the files has data, or was closed at its other end, within `seconds`.

    `select()` fails in a process with more than 1,024 open files.
    """
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return bool(poll.poll(None if math.isinf(seconds) else math.ceil(seconds * 1000)))


class Bell:
    """Wakes a process that waits for files. Create it before the fork. Any process may ring it, and one hears it."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._in, False)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)

    def ring(self) -> None:
        """Wake the process that waits, or the next one that does."""
        # A full pipe already wakes it.
        with suppress(BlockingIOError):
            os.write(self._in, b"\0")

    def has_rung(self) -> bool:
        """Whether the bell rang since the last call."""
        # The relay asks in each round. A read that fails would take ten times as long.
        return bool(self._poll.poll(0)) and bool(os.read(self._out, 4096))

    def fileno(self) -> int:
        """The file to wait for."""
        return self._out

    def __del__(self) -> None:
        os.close(self._out)
        os.close(self._in)


class Places:
    """The free places of a queue: one byte of a pipe for each.

    A process that is killed at the wrong moment leaves the queue one place too many, never one too few: with a place
    less for each killed relay, the relay would at last wait for ever. So the producer takes a place after it has sent
    the object, and a consumer frees it before it receives the object. There is one producer at a time.
    """

    def __init__(self, count: int) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        os.write(self._in, bytes(count))
        # The producer's own: the objects that it sent without taking a place, because a consumer took it back.
        self._owed = 0

    def wait(self) -> None:
        """Wait until there is a free place. The producer calls it before it sends an object."""
        is_readable(self._out, math.inf)
        while self._owed:
            self._owed -= self.take()
            is_readable(self._out, math.inf)

    def fill(self) -> None:
        """Take a place for an object that was sent."""
        self._owed += not self.take()

    def take(self) -> bool:
        """Take a place. Returns whether one was free."""
        try:
            return bool(os.read(self._out, 1))
        except BlockingIOError:
            return False

    def free(self) -> None:
        """Free a place. A full pipe already holds more places than tasks can wait."""
        with suppress(BlockingIOError):
            os.write(self._in, b"\0")

    def __del__(self) -> None:
        os.close(self._out)
        os.close(self._in)


class Queue:
    """A queue of objects. Each object is one message of a socket, which the kernel gives to one waiting process.

    `put` sends the message itself. multiprocessing's queue wakes a thread for it, and must join that thread at the end.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._out, self._in = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._in.settimeout(None if maxsize else PUT_SECONDS)
        self._places = Places(maxsize) if maxsize else None

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
        try:
            if self._places:
                self._places.wait()
            self._send(data)
            if self._places:
                self._places.fill()
        except TimeoutError:
            # The result of an outbox task holds nothing to record.
            logger.error(
                "The result of a task is lost: the monitor did not take it. A queued task runs again."
            )

    def get(self) -> Any:
        """Wait for an object and return it."""
        if self._places is None:
            return self._receive()
        has_freed = False
        while True:
            # Several consumers may see the same object. Only those that see one free a place, so that a consumer that
            # is killed while it waits leaves the places as they are.
            is_readable(self._out, math.inf)
            if not has_freed:
                self._places.free()
            try:
                return self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                # Another consumer was faster. The producer may have filled the place already.
                has_freed = not self._places.take()

    def _receive(self, flags: int = 0) -> Any:
        data, descriptors, _, _ = socket.recv_fds(self._out, INLINE, 1, flags)
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
        self._lock = KernelLock()

    @property
    def value(self) -> float:
        return float(self._value.value)

    @value.setter
    def value(self, value: float) -> None:
        self._value.value = value

    def get_lock(self) -> AbstractContextManager[None]:
        return self._lock.held()


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
