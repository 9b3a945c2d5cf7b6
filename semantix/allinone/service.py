"""Handles of started programs."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone.lock import Lock
from semantix.allinone.process import Child


@dataclass(kw_only=True)
class Program:
    """A running program, and the function that starts it again. `stop()` may be called twice or after its end."""

    child: Child
    # Raises StartError, or StartInterrupted where a stop is requested; in both cases nothing is left running.
    launch: Callable[[], Child]

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def exit_code(self) -> int | None:
        return self.child.exit_code

    def is_alive(self) -> bool:
        return self.child.is_alive()

    def trouble(self) -> str | None:
        """The fault that makes a restart necessary, as one phrase, or None."""
        code = self.exit_code
        return None if code is None else f"{self.name} ended by itself ({_how(code)})"

    def restart(self) -> None:
        """End its remaining processes and start it again at the same address. Raises what `launch` raises."""
        self.child.stop()
        self.child = self.launch()

    def stop(self, timeout: float = 5.0) -> None:
        """Return when it has ended. It is killed after `timeout` seconds."""
        self.child.stop(timeout)


@dataclass(kw_only=True)
class Service(Program):
    """A running server over a folder. Its end releases the folder's lock."""

    url: str
    lock: Lock
    # A folder to remove when the server stops.
    scratch: Path | None = None

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.lock.release()


def _how(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
