"""Handles of started programs."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone.lock import Lock
from semantix.allinone.process import Child


@dataclass(kw_only=True)
class Program:
    """A program, and the function that starts it. `stop()` may be called twice or after its end."""

    name: str
    # Raises StartError, or StartInterrupted where a stop is requested; in both cases nothing is left running.
    launch: Callable[[], Child]
    # None before the first start.
    child: Child | None = None

    @property
    def pid(self) -> int:
        if self.child is None:
            raise ProcessLookupError(f"{self.name} was never started")
        return self.child.pid

    def is_alive(self) -> bool:
        return self.child is not None and self.child.is_alive()

    def trouble(self) -> str | None:
        """The fault that makes a restart necessary, as one phrase, or None."""
        code = self.child.exit_code if self.child else None
        return None if code is None else f"{self.name} ended by itself ({_how(code)})"

    def restart(self) -> None:
        """End its remaining processes and start it at the same address. Raises what `launch` raises."""
        if self.child:
            self.child.stop()
        self.child = self.launch()

    def stop(self, timeout: float = 5.0) -> None:
        """Return when it has ended. It is killed after `timeout` seconds."""
        if self.child:
            self.child.stop(timeout)


@dataclass(kw_only=True)
class Service(Program):
    """A server over a folder. Its end releases the folder's lock."""

    url: str
    # None while nothing runs over the folder.
    lock: Lock | None = None
    # A folder to remove when the server stops.
    scratch: Path | None = None

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        if self.lock:
            self.lock.release()
            self.lock = None


def _how(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
