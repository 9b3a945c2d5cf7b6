"""Whether this cluster is stopping.

django-q2 lets its workers finish all that was prefetched before it stops. Knowing that it stops, they give back
what they have not begun.
"""

import multiprocessing
from multiprocessing.synchronize import Event

_stop: Event | None = None


def watch() -> bool:
    """Remember the cluster's stop event; to be called where django-q2 makes its broker.

    That is in the sentinel, before it forks the pusher and the workers, and the sentinel was started with the
    event as an argument. django-q2 hands it to nobody else, so it is taken from there. Anywhere else (a web
    process that enqueues, a worker whose handler does) nothing changes. Returns whether this is the sentinel.
    """
    global _stop
    process = multiprocessing.current_process()
    if getattr(getattr(process, "_target", None), "__name__", "") != "Sentinel":
        return False
    arguments = getattr(process, "_args", ())
    _stop = next((argument for argument in arguments if isinstance(argument, Event)), None)
    return True


def is_stopping() -> bool:
    # Not by is_set(), which takes the event's lock: a worker that is killed in that very moment keeps it, and the
    # sentinel, which waits for the event between two looks at its processes, would wait for ever.
    return _stop is not None and not _stop._flag._semlock._is_zero()  # type: ignore[attr-defined]  # noqa: SLF001
