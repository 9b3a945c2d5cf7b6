"""Threads for what waits: as Python's own pool, but the one that rested least is called first.

What it needs is still at hand: in the processor's caches, and in those of the connection that it keeps. Called in turn,
each of them, and of the database's processes, begins from afar.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Job(NamedTuple):
    future: "Future[Any]"
    function: Callable[[], Any]

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                result = self.function()
            except BaseException as error:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)


class LatestFirst(Executor):
    """At most `count` threads, which live as long as the process."""

    def __init__(self, count: int, name: str) -> None:
        self._name = name
        self._to_start = count
        self._lock = Lock()
        self._resting: list[SimpleQueue[Job]] = []
        self._waiting: deque[Job] = deque()

    @property
    def resting(self) -> int:
        return len(self._resting)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        job = Job(future, lambda: fn(*args, **kwargs))
        with self._lock:
            if self._resting:
                self._resting.pop().put(job)
            elif self._to_start:
                self._start(job)
                self._to_start -= 1
            else:
                self._waiting.append(job)
        return future

    def _start(self, job: Job) -> None:
        calls: SimpleQueue[Job] = SimpleQueue()
        calls.put(job)
        Thread(target=self._work, args=(calls,), name=f"{self._name}-{self._to_start}", daemon=True).start()

    def _work(self, calls: "SimpleQueue[Job]") -> None:
        job = calls.get()
        while True:
            job.run()
            del job  # while it rests it keeps nothing of it
            job = self._next(calls) or calls.get()

    def _next(self, calls: "SimpleQueue[Job]") -> Job | None:
        """What waits for a thread; if nothing does, it rests from now on."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._resting.append(calls)
            return None
