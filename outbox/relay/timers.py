"""When the relay does what: chores every so often, and a short wait that gathers events while they stream in."""

import time


class Interval:
    """Something to do every `seconds`, in the relay's own loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = 0.0

    def is_due(self) -> bool:
        """Whether it is time, once each time."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + self._seconds
        return True

    @property
    def left(self) -> float:
        """Seconds until it is time."""
        return max(0.0, self._due - time.monotonic())

    def hasten(self, seconds: float) -> None:
        """Let it be time in so long, if that is sooner."""
        self._due = min(self._due, time.monotonic() + seconds)


class CoalescingDelay:
    """A short wait before a claim while events stream in, so that each does not cost a wakeup, claim and task.

    Doubles from 1 to 8 ms as long as waiting brings several events together; gone as soon as it does not.
    """

    SHORTEST, LONGEST = 0.001, 0.008
    # Fewer than this at a time, and each may as well be delivered at once.
    SEVERAL = 4

    def __init__(self) -> None:
        self.window = 0.0

    def gather(self) -> None:
        if self.window:
            time.sleep(self.window)

    def claimed(self, count: int) -> None:
        """Learn from how many events a claim brought."""
        if count < self.SEVERAL:
            self.window = 0.0
        else:
            self.window = min(self.LONGEST, max(self.SHORTEST, self.window * 2))
