"""The parts of the running service, in start order."""

import time
from collections.abc import Callable, Sequence

from semantix.allinone.errors import StartError
from semantix.allinone.restarting import Restarting
from semantix.allinone.service import Program
from semantix.web.parts import Part

Say = Callable[[str], None]

# Seconds for the whole stop. Service managers kill after ten seconds.
STOP_WITHIN = 9.5
# The share of each part that holds no data. Postgres gets the rest, because it writes its memory to disk.
STOP_SECONDS = {"Web server": 2.5, "Cluster": 3.5, "Chroma": 1.0}


class ServiceGroup:
    """Watches the parts together and stops them in reverse order: the web server first, Postgres last.

    `report` is called with the failing parts each time their state changes.
    """

    def __init__(self, say: Say, report: Callable[[Sequence[Part]], None] = lambda _: None) -> None:
        self._say = say
        self._report = report
        self._parts: list[Restarting] = []
        self._needed: list[Program] = []
        self._reported: list[Part] = []

    def add(self, part: Program) -> None:
        """Watch a running part that the service cannot do without."""
        self._parts.append(Restarting(part, self._say, lambda: None))
        self._needed.append(part)

    def start(self, part: Program, restarted: Callable[[], object] = lambda: None) -> None:
        """Start and watch a part that the service can do without for a while. Raises StartInterrupted.

        `restarted` is called after each later start.
        """
        restarting = Restarting(part, self._say, restarted)
        self._parts.append(restarting)
        restarting.start()

    def require_needed(self) -> None:
        """Raise StartError where a needed part has ended. During the start a restart does not help."""
        for part in self._needed:
            if trouble := part.trouble():
                raise StartError(
                    f"{trouble} while starting. The lines above, or the logs in DATA_DIR, say why."
                )

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Restart each part that ends by itself. Returns when `stopping()` is true."""
        while not stopping():
            for restarting in self._parts:
                restarting.tend()
                self._report_changes()
            time.sleep(0.2)

    def _report_changes(self) -> None:
        failing = [restarting.state for restarting in self._parts]
        states = [state for state in failing if state]
        if states != self._reported:
            self._reported = states
            self._report(states)

    def stop(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        while self._parts:
            part = self._parts.pop().part
            self._say(f"Stopping {part.name} ...")
            part.stop(STOP_SECONDS.get(part.name, deadline - time.monotonic()))
