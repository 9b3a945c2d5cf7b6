"""What a started service is to who started it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from semantix.embedded.lock import Lock
from semantix.embedded.process import Child


@dataclass
class Service:
    """A running server. `stop()` may be called twice, and after it died by itself."""

    url: str
    child: Child
    lock: Lock
    # A folder that means something only while the server runs.
    scratch: Path | None = None

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

    def stop(self, timeout: float = 5.0) -> None:
        """Returns when it has ended, killed after `timeout` seconds; the folder is free again."""
        self.child.stop(timeout)
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.lock.release()
