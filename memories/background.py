"""What is done in another thread while this one waits for something else."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from django.db import connections


@contextmanager
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """Gives `submit` of a thread of its own: calls go one after the other, in the caller's context (its trace).

    At the end all are done, and the database connection is closed that the thread had, should it have needed one.
    """
    context = copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread:

        def submit(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
            return thread.submit(context.run, call, *arguments)

        try:
            yield submit
        finally:
            thread.submit(connections.close_all)
