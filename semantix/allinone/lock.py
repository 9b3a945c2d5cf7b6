"""A lock on a folder. The kernel releases it when the holder dies."""

import fcntl
import os
from pathlib import Path
from typing import IO

from semantix.allinone.errors import StartError


class Lock:
    """Held from construction until `release()` or the end of the process. The file contains the holder's pid."""

    def __init__(self, path: Path, what: str) -> None:
        """Take the lock. `what` names the folder in the error.

        Raises StartError where another process holds it or the file cannot be written.
        """
        self._file = _open(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise StartError(f"{what} is in use by process {holder}. Stop that process first.") from None
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
            f"Cannot write in {path.parent} ({'it is not a folder' if no_folder else error.strerror}). "
            "Make it a folder that you may write to, or set DATA_DIR to another one."
        ) from None
    file.seek(0)
    return file
