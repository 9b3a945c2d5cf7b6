"""A lock among the processes of a cluster that the kernel releases when its holder dies.

The locks of multiprocessing are never released by a process that is killed while it holds one.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class KernelLock:
    """Create it before the fork. It is a lock between processes, not between threads of one process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - inherited by forks

    @contextmanager
    def held(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __del__(self) -> None:
        self._file.close()
