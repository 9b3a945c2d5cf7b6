"""The same work in several threads at once. Each thread has its own database connection."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def in_parallel(number: int, work: Callable[[int], T]) -> list[T]:
    """The results of `work(0)`, `work(1)`, ..., which start together."""
    barrier = Barrier(number)

    def alone(n: int) -> T:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            return work(n)
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(alone, range(number)))
