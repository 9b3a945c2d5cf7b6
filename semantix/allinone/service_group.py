"""The parts of the running service, in start order."""

import time
from collections.abc import Callable

from semantix.allinone.errors import StartError
from semantix.allinone.restarting import Restarting
from semantix.allinone.service import Program

Say = Callable[[str], None]

# Seconds for the whole stop. Service managers kill after ten seconds.
STOP_WITHIN = 9.5
# The share of each part that holds no data. Postgres gets the rest, because it writes its memory to disk.
STOP_SECONDS = {"Web server": 2.5, "Cluster": 3.5, "Chroma": 1.0}


class ServiceGroup:
    """Watches the parts together and stops them in reverse order: the web server first, Postgres last."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._parts: list[Restarting] = []

    def add(self, part: Program, restarted: Callable[[], object] = lambda: None) -> None:
        """Watch `part`. `restarted` is called after each restart of it."""
        self._parts.append(Restarting(part, self._say, restarted))

    def require_all(self) -> None:
        """Raise StartError where a part has ended. During the start this means a fault that a restart does not help."""
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
