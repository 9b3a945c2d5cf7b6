"""Timers of the relay's loop: regular jobs, and a short wait that collects events while they arrive quickly."""

import time
from collections.abc import Callable

# The share of its time that the relay spends on a job whose runs take long, and the longest pause for that.
SHARE, LONGEST_PAUSE = 0.05, 10.0
# The longest time in seconds that a job is put off for events that wait for their claim.
LONGEST_DELAY = 0.2


class Interval:
    """A job of the relay's loop that is due every `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = 0.0

    def is_due(self, *, unless: Callable[[], bool] = lambda: False) -> bool:
        """Whether the time has come. True once for each interval.

        `unless`: says whether something more urgent waits. For that the job is put off, up to LONGEST_DELAY.
        """
        now = time.monotonic()
        if now < self._due or (now < self._due + LONGEST_DELAY and unless()):
            return False
        self._due = now + self._seconds
        return True

    @property
    def left(self) -> float:
        """Seconds until the next run."""
        return max(0.0, self._due - time.monotonic())

    def spare(self, seconds: float) -> None:
        """A run took so many seconds: let the next one be late enough that the runs take SHARE of the time."""
        self._due = max(self._due, time.monotonic() + min(seconds / SHARE, LONGEST_PAUSE))

    def hasten(self, seconds: float) -> None:
        """Bring the next run forward to `seconds` from now, if it is later than that."""
        self._due = min(self._due, time.monotonic() + seconds)


class CoalescingDelay:
    """A short wait before a claim while events arrive quickly, so that they share a wakeup, a claim and a task.

    The wait doubles from 1 to 8 ms as long as a claim brings several events. It ends when a claim brings few, and when
    no claim was made for a while: the next event may be alone.
    """

    SHORTEST, LONGEST = 0.001, 0.008
    # Seconds after a claim in which the next event waits for others.
    RECENT = 0.02
    # A claim of fewer events does not save enough to delay them.
    SEVERAL = 4

    def __init__(self) -> None:
        self.window = 0.0
        self._claimed_at = 0.0

    def wait(self) -> None:
        if self.window and time.monotonic() < self._claimed_at + self.RECENT:
            time.sleep(self.window)

    def claimed(self, count: int) -> None:
        """Adapt the wait to the number of events in the last claim."""
        self._claimed_at = time.monotonic()
        if count < self.SEVERAL:
            self.window = 0.0
        else:
            self.window = min(self.LONGEST, max(self.SHORTEST, self.window * 2))
