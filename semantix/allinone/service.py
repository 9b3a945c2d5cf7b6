"""What a started program is to who started it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone.lock import Lock
from semantix.allinone.process import Child


@dataclass(kw_only=True)
class Program:
    """A running program, and how to start it again. `stop()` may be called twice, and after it died by itself."""

    child: Child
    # Raises StartError, and StartInterrupted when somebody asks to stop; nothing is left running then.
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
        """What happened to it that nobody asked for, so that it has to be started again."""
        code = self.exit_code
        return None if code is None else f"{self.name} ended by itself ({_how(code)})"

    def restart(self) -> None:
        """End what is left of it and start it at the same address. Raises as `launch` does."""
        self.child.stop()
        self.child = self.launch()

    def stop(self, timeout: float = 5.0) -> None:
        """Returns when it has ended, killed after `timeout` seconds."""
        self.child.stop(timeout)


@dataclass(kw_only=True)
class Service(Program):
    """A running server over a folder, which is free again once it has stopped."""

    url: str
    lock: Lock
    # A folder that means something only while the server runs.
    scratch: Path | None = None

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.lock.release()


def _how(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
