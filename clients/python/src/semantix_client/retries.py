"""Which answers are tried again, and after how long. Nothing in here waits or sends."""

import random
import time

import httpx

from semantix_client.errors import SemantixError, Unreachable, error_of

# Seconds: the first pause, and the longest one that is not the service's own wish.
FIRST, LONGEST = 0.2, 10.0
# Seconds: the longest pause of a change that was overtaken once. It doubles each time.
OVERTAKEN = 0.01
# The service, or a proxy before it, asks to come again. 409 is a request in progress only where it names a time.
COME_AGAIN = {429, 502, 503, 504}


def pause_of_overtaken(times: int) -> float:
    """The seconds to wait before a change is tried again that others have overtaken so many times before this one.

    A random time: clients that try again in step would always have the same winner.
    """
    return random.uniform(0, min(LONGEST, OVERTAKEN * 2**times))


class Attempts:
    """The attempts of one request, up to `patience` seconds after the first."""

    def __init__(self, patience: float, *, repeatable: bool) -> None:
        self._deadline = time.monotonic() + patience
        self._repeatable = repeatable
        self._pause = FIRST
        self._uncertain = False

    def after_response(self, response: httpx.Response) -> float:
        """The seconds to wait before the next attempt. Raises the answer's error where there is none to come."""
        error = error_of(response)
        error.uncertain = self._uncertain
        in_progress = response.status_code == 409 and error.retry_after is not None
        if response.status_code not in COME_AGAIN and not in_progress:
            raise error
        return self._next(error)

    def after_failure(self, failure: httpx.TransportError, url: str) -> float:
        """The same for a request without an answer. It may have arrived: only a repeatable one is sent again."""
        error = Unreachable(f"No answer from {url}: {failure or type(failure).__name__}")
        error.__cause__ = failure
        if not isinstance(failure, httpx.ConnectError):
            self._uncertain = True
            if not self._repeatable:
                raise error
        return self._next(error)

    def _next(self, error: SemantixError) -> float:
        # Full jitter, so that clients that failed together do not come back together.
        pause = error.retry_after if error.retry_after is not None else random.uniform(0, self._pause)
        self._pause = min(LONGEST, self._pause * 2)
        if time.monotonic() + pause >= self._deadline:
            raise error
        return pause
