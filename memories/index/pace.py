"""How many rows go to Chroma in one call: as many as it takes in time."""

from threading import Lock

# Chroma accepts at most 5,461 rows in a call.
MOST_ROWS, FEWEST_ROWS = 1_000, 8
# The size doubles again after so many calls that each took less than this share of the time limit.
CALLS_TO_GROW, SHARE_TO_GROW = 5, 0.25


class Pace:
    """The size of a call: half of it after a timeout, twice as much after several quick calls. One for a process."""

    def __init__(self) -> None:
        self.rows = MOST_ROWS
        self._quick_calls = 0
        self._lock = Lock()

    def timed_out(self, rows: int) -> None:
        """A call with so many rows was not answered in time."""
        with self._lock:
            self.rows = max(FEWEST_ROWS, min(self.rows, rows) // 2)
            self._quick_calls = 0

    def answered(self, seconds: float, limit: float) -> None:
        """A call was answered; `limit`: the seconds it may take."""
        with self._lock:
            self._quick_calls = self._quick_calls + 1 if seconds < limit * SHARE_TO_GROW else 0
            if self._quick_calls >= CALLS_TO_GROW and self.rows < MOST_ROWS:
                self.rows, self._quick_calls = min(MOST_ROWS, self.rows * 2), 0


pace = Pace()
