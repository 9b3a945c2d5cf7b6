"""The parts of the running service, in the order of their start."""

import time
from collections.abc import Callable

from semantix.allinone.errors import StartError
from semantix.allinone.restarting import Restarting
from semantix.allinone.service import Program

Say = Callable[[str], None]

# The patience of a person, or of a service manager that kills after ten seconds.
STOP_WITHIN = 9.5
# What those that hold no data get of it. Postgres gets the rest: it writes down what is in memory.
STOP_SECONDS = {"Web server": 2.5, "Cluster": 3.5, "Chroma": 1.0}


class ServiceGroup:
    """Watched together, stopped in reverse order: first who takes requests, last who keeps the data."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._parts: list[Restarting] = []

    def add(self, part: Program, restarted: Callable[[], object] = lambda: None) -> None:
        """`restarted` is called each time the part was started again."""
        self._parts.append(Restarting(part, self._say, restarted))

    def require_all(self) -> None:
        """Raise StartError when a part has ended by itself: for the start, where that is no accident."""
        for restarting in self._parts:
            if trouble := restarting.part.trouble():
                raise StartError(
                    f"{trouble} while starting. The lines above, or the logs in DATA_DIR, say why."
                )

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Return when `stopping()`; start again what ends by itself. Raise StartError when that does not help."""
        while not stopping():
            for restarting in self._parts:
                restarting.tend()
            time.sleep(0.2)

    def stop(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        while self._parts:
            part = self._parts.pop().part
            self._say(f"Stopping {part.name} ...")
            part.stop(STOP_SECONDS.get(part.name, deadline - time.monotonic()))
