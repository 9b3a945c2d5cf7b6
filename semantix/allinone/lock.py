"""One holder a folder: the lock is the kernel's, so a killed holder holds nothing."""

import fcntl
import os
from pathlib import Path
from typing import IO

from semantix.allinone.errors import StartError


class Lock:
    """Held from construction to `release()`, or the end of the process. The file names the holder."""

    def __init__(self, path: Path, what: str) -> None:
        """Raises StartError when another process holds it or the file cannot be written."""
        self._file = _open(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise StartError(f"{what} is in use by process {holder}: stop that one first.") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        no_folder = isinstance(error, FileExistsError | NotADirectoryError)
        raise StartError(
            f"Cannot write in {path.parent} ({'it is no folder' if no_folder else error.strerror}). "
            "Make it a folder you may write, or set DATA_DIR to another."
        ) from None
    file.seek(0)
    return file
