"""Work in a second thread while this thread does something else."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from django.db import connections


@contextmanager
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """Yield `submit` of a second thread, which runs calls one after another in the caller's context (its trace).

    At the end all calls are done, and the thread's database connection, if it opened one, is closed.
    """
    context = copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="background") as thread:

        def submit(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
            return thread.submit(context.run, call, *arguments)

        try:
            yield submit
        finally:
            thread.submit(connections.close_all)
