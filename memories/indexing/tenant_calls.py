"""Calls to the collections of several tenants, a few at a time.

Chroma waits for the disk in each call and works for other collections meanwhile: two calls at a time take little longer
than one.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import Event
from typing import NamedTuple

from memories.background import at_once
from memories.tenants import Tenant
from outbox import Unavailable

# More calls at a time wait for each other in Chroma. Each worker has so many.
THREADS = 4


class Call(NamedTuple):
    """One tenant's call, and the memories that it writes or deletes."""

    tenant: Tenant
    memory_ids: Sequence[int]
    do: Callable[[], None]


# A block in which the result of a call is taken. It may have to do something when the call has failed.
Guard = Callable[[Tenant, Sequence[int]], AbstractContextManager[None]]


def succeeded(calls: Sequence[Call], *, guard: Guard, alone: Collection[Tenant] = ()) -> Iterator[Tenant]:
    """Do the calls; yields the tenants whose call succeeded. Raises the first error after them.

    `alone`: the calls of these tenants use the database, and run in this thread. Once Chroma is found unavailable, no
    other call begins.
    """
    unavailable = Event()

    def attempt(call: Call) -> bool:
        if unavailable.is_set():
            return False
        try:
            call.do()
        except Unavailable:
            unavailable.set()
            raise
        return True

    errors: list[Exception] = []
    for call, result in _results(calls, attempt, alone):
        try:
            with guard(call.tenant, call.memory_ids):
                is_done = result()
        except Exception as error:
            errors.append(error)
        else:
            if is_done:
                yield call.tenant
    if errors:
        raise errors[0]


def _results(
    calls: Sequence[Call], attempt: Callable[[Call], bool], alone: Collection[Tenant]
) -> Iterator[tuple[Call, Callable[[], bool]]]:
    """The calls, each with a function that returns its result or raises its error."""
    # One call needs no thread.
    here = {call.tenant for call in calls if len(calls) == 1 or call.tenant in alone}
    together = [call for call in calls if call.tenant not in here]
    futures = at_once([partial(attempt, call) for call in together], threads=THREADS) if together else []
    for call, future in zip(together, futures, strict=True):
        yield call, future.result
    for call in calls:
        if call.tenant in here:
            yield call, partial(attempt, call)
