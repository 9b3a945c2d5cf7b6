"""Whether this cluster is stopping.

django-q2 lets its workers finish all that was prefetched before it stops. Knowing that it stops, they give back
what they have not begun.
"""

import multiprocessing
import time
from multiprocessing.synchronize import Event

# Between two looks at the event. Each takes its lock for a moment, and a worker that is killed in that very moment
# keeps it: the cluster could never stop. (It costs as much as all else that is done for an event, too.)
LOOK_SECONDS = 0.02

_stop: Event | None = None
_look_at = 0.0


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
    global _look_at
    if _stop is None or (now := time.monotonic()) < _look_at:
        return False
    if _stop.is_set():
        return True
    _look_at = now + LOOK_SECONDS
    return False
