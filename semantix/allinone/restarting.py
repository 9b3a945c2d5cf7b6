"""Restart a part that ended by itself, as often as necessary."""

import time
from collections.abc import Callable
from time import monotonic

from semantix.allinone.errors import StartError
from semantix.allinone.service import Program
from semantix.web.parts import Part

# Pauses before restarts in a row: 0, 1, 3, 7, 15, 30, 30, ... seconds.
LONGEST_PAUSE = 30
# After running for this long (seconds) a part counts as well, and its earlier ends are forgotten.
WELL_AFTER = 60.0


class Restarting:
    """A watched part. `tend()` is called several times a second and blocks only while the part starts."""

    def __init__(self, part: Program, say: Callable[[str], None], restarted: Callable[[], object]) -> None:
        self.part = part
        self._say = say
        self._restarted = restarted
        self._tries = 0
        self._tried_at = monotonic()
        self._due: float | None = None
        # The same moment in seconds since 1970, for other processes.
        self._next_start = 0.0
        self._trouble = ""

    @property
    def state(self) -> Part | None:
        """The state while the part fails: it waits for a restart, or had several in a row. None while it is well."""
        if self._due is None and self._tries < 2:
            return None
        next_start = None if self._due is None else self._next_start
        return Part(self.part.name, self._trouble, max(0, self._tries - 1), next_start)

    def start(self) -> None:
        """Start the part for the first time. Where that fails, it is tried again. Raises StartInterrupted."""
        try:
            self.part.restart()
        except (StartError, OSError) as error:
            self._plan(self._failed(error))

    def tend(self) -> None:
        """Restart the part where it is due. Raises StartInterrupted where a stop is requested."""
        if self._due is not None:
            if monotonic() >= self._due:
                self._restart()
        elif trouble := self.part.trouble():
            self._plan(trouble)
        elif self._tries and self._is_well():
            self._tries = 0

    def _failed(self, error: StartError | OSError) -> str:
        """An OSError is one of the machine: no room on the disk, no more processes."""
        return str(error) if isinstance(error, StartError) else f"{self.part.name} cannot start ({error})"

    def _is_well(self) -> bool:
        return monotonic() - self._tried_at > WELL_AFTER

    def _plan(self, trouble: str) -> None:
        if self._is_well():
            self._tries = 0
        pause = min(2 ** min(self._tries, 10) - 1, LONGEST_PAUSE)
        self._tries += 1
        self._trouble = trouble
        self._say(f"{trouble}: starting it again{f' in {pause} s' if pause else ''} ...")
        self._due, self._next_start = monotonic() + pause, time.time() + pause

    def _restart(self) -> None:
        self._due = None
        try:
            self.part.restart()
        except (StartError, OSError) as error:
            self._tried_at = monotonic()
            self._plan(self._failed(error))
        else:
            self._tried_at = monotonic()
            self._say(f"{self.part.name} runs again.")
            self._restarted()
