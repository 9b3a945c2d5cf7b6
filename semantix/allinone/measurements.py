"""The folder in which web server and cluster keep their metrics, for one /metrics of both.

The files are mapped into memory. On a full disk the system kills a process that writes to such a file (SIGBUS), so the
folder is in memory where the system has a place for that.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")


def prepare(data: Path) -> dict[str, str]:
    """Make an empty folder. Returns the setting that names it."""
    remove(data)
    place = data / "metrics"
    if os.access(MEMORY, os.W_OK):
        # The link leads the next start to the folder of one that was killed.
        place.symlink_to(tempfile.mkdtemp(prefix="semantix-metrics-", dir=MEMORY))
    else:
        place.mkdir()
    return {"PROMETHEUS_MULTIPROC_DIR": str(place)}


def remove(data: Path) -> None:
    place = data / "metrics"
    if place.is_symlink():
        shutil.rmtree(place.resolve(), ignore_errors=True)
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
