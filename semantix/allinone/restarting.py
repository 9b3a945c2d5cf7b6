"""Restart a part that ended by itself."""

from collections.abc import Callable
from time import monotonic

from semantix.allinone.errors import StartError
from semantix.allinone.service import Program

# So often in a row, after pauses of 0, 1 and 3 seconds. What then ends at once is not helped by one more.
RESTARTS = 3
# Who has run for so many seconds has its earlier ends forgotten.
WELL_AFTER = 60.0


class Restarting:
    """A part under watch: `tend()` is called all the time, and waits for nothing but a start."""

    def __init__(self, part: Program, say: Callable[[str], None], restarted: Callable[[], object]) -> None:
        self.part = part
        self._say = say
        self._restarted = restarted
        self._tries = 0
        self._tried_at = monotonic()
        self._due: float | None = None

    def tend(self) -> None:
        """Raises StartError when it is given up, and StartInterrupted when somebody asks to stop."""
        if self._due is None:
            if trouble := self.part.trouble():
                self._plan(trouble)
        elif monotonic() >= self._due:
            self._restart()

    def _plan(self, trouble: str) -> None:
        if monotonic() - self._tried_at > WELL_AFTER:
            self._tries = 0
        if self._tries == RESTARTS:
            raise StartError(
                f"{trouble}, after {RESTARTS} restarts in a row, so all was stopped. What is stored is safe: start "
                "again. The lines above, and the logs in DATA_DIR, may say why."
            )
        pause = 2**self._tries - 1
        self._tries += 1
        self._say(f"{trouble}: starting it again{f' in {pause} s' if pause else ''} ...")
        self._due = monotonic() + pause

    def _restart(self) -> None:
        self._due = None
        try:
            self.part.restart()
        except StartError as error:
            self._tried_at = monotonic()
            self._plan(str(error))
        else:
            self._tried_at = monotonic()
            self._say(f"{self.part.name} runs again.")
            self._restarted()
