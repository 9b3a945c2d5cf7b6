"""The parts of the running service, in the order of their start."""

import time
from collections.abc import Callable
from typing import Protocol

from semantix.embedded.errors import StartError

# The patience of a person, or of a service manager that kills after ten seconds.
STOP_WITHIN = 9.5
# What those that hold no data get of it. Postgres gets the rest: it writes down what is in memory.
STOP_SECONDS = {"Web server": 2.5, "Cluster": 3.5, "Chroma": 1.0}


class Part(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def exit_code(self) -> int | None: ...

    def stop(self, timeout: float) -> None: ...


class ServiceGroup:
    """Watched together, stopped in reverse order: first who takes requests, last who keeps the data."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._tended: list[Callable[[], object]] = []

    def add(self, part: Part, tend: Callable[[], object] | None = None) -> None:
        """`tend` mends what can be mended of it, and is called all the time while it is watched."""
        self._parts.append(part)
        if tend:
            self._tended.append(tend)

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Return when `stopping()`; raise StartError as soon as a part ends by itself."""
        while not stopping():
            for tend in self._tended:
                tend()
            for part in self._parts:
                if (code := part.exit_code) is not None:
                    raise StartError(
                        f"{part.name} ended by itself ({_how(code)}), so all was stopped. What is stored is safe: "
                        "start again. The lines above, and the logs in DATA_DIR, may say why."
                    )
            time.sleep(0.2)

    def stop(self, say: Callable[[str], None]) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        while self._parts:
            part = self._parts.pop()
            say(f"Stopping {part.name} ...")
            part.stop(STOP_SECONDS.get(part.name, deadline - time.monotonic()))


def _how(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
