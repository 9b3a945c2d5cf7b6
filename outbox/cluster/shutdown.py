"""Whether this cluster is stopping.

django-q2's workers finish everything in the cluster's queue before the cluster stops. A worker that knows about the
stop returns the events that it has not begun.
"""

import multiprocessing
from multiprocessing.synchronize import Event

_stop: Event | None = None


def watch() -> bool:
    """Remember the cluster's stop event. Call it where django-q2 creates its broker.

    In a cluster that is the sentinel, before it forks the pusher and the workers. django-q2 passes the event to the
    sentinel alone, so this function takes it from the process's arguments. In any other process (a web process that
    enqueues a task, a worker whose handler does) this function changes nothing. Returns whether this is the sentinel.
    """
    global _stop
    process = multiprocessing.current_process()
    if getattr(getattr(process, "_target", None), "__name__", "") != "Sentinel":
        return False
    arguments = getattr(process, "_args", ())
    _stop = next((argument for argument in arguments if isinstance(argument, Event)), None)
    return True


def is_stopping() -> bool:
    """Whether the cluster of this process was told to stop. False outside of a cluster."""
    # is_set() takes the event's lock. A worker that is killed at that moment never releases it, and the sentinel, which
    # waits for the event in its loop, would wait for ever. The flag's semaphore can be read without the lock.
    return _stop is not None and not _stop._flag._semlock._is_zero()  # type: ignore[attr-defined]  # noqa: SLF001
