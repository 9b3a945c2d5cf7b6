"""Work in other threads: one thing while this thread does another, or several that wait at the same time."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from django.db import connections

Result = TypeVar("Result")

# Second threads that do nothing now: as many as there were at the same time. A forked child has none of them.
_idle: deque[ThreadPoolExecutor] = deque()
os.register_at_fork(after_in_child=_idle.clear)


@contextmanager
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """Yield `submit` of a second thread, which runs calls one after another in the caller's context (its trace).

    At the end all calls are done, and the thread's database connection, if it opened one, is closed.
    """
    context, thread = copy_context(), _second_thread()

    def submit(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return thread.submit(context.run, call, *arguments)

    try:
        yield submit
    finally:
        wait([thread.submit(connections.close_all)])  # it is the last call, so the others are done
        _idle.append(thread)


def _second_thread() -> ThreadPoolExecutor:
    """A thread that is idle now, or a new one. To start a thread takes longer than a short call."""
    try:
        return _idle.pop()
    except IndexError:
        return ThreadPoolExecutor(1, thread_name_prefix="background")


def at_once(calls: Sequence[Callable[[], Result]], *, threads: int) -> list[Future[Result]]:
    """Do the calls in up to so many threads, each in the caller's context. Returns when all are done.

    For calls that wait for another server. One that opens a database connection has it for itself.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="at-once")
    try:
        futures = [pool.submit(copy_context().run, _call_and_close, call) for call in calls]
        wait(futures)
        return futures
    finally:
        # If this thread has to end, what was not begun does not run.
        pool.shutdown(cancel_futures=True)


def _call_and_close(call: Callable[[], Result]) -> Result:
    try:
        return call()
    finally:
        connections.close_all()
