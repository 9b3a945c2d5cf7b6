"""Vacuuming the index folder: deleted text leaves the freed pages of Chroma's database.

Chroma's own program does it, and no server may have the folder open meanwhile.
"""

import subprocess
from pathlib import Path

from semantix.allinone import journal
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock

# Rewriting the database takes about a second a gigabyte.
TIMEOUT_SECONDS = 3600


def erased_marker(folder: Path) -> Path:
    """The file that an erasure leaves next to the folder: the next start vacuums it."""
    return folder.with_name(f"{folder.name}.erased")


def vacuum(folder: Path, program: list[str]) -> None:
    """Vacuum the folder with Chroma's program. Raises StartError with what the program says."""
    command = [*program, "vacuum", "--path", str(folder), "--force"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()[-500:]
        raise StartError(f"The index folder {folder} could not be vacuumed: {said}")
    # Chroma's program leaves the new pages in the log, and the former ones in the file.
    journal.keep_write_ahead_log(folder)
    erased_marker(folder).unlink(missing_ok=True)


def vacuum_alone(folder: Path, program: list[str]) -> int:
    """Vacuum the folder while no server has it open; returns the bytes that this freed.

    Raises StartError where a server runs over it, or where it does not exist.
    """
    if not folder.is_dir():
        raise StartError(f"There is no index folder {folder}. CHROMADB_PATH names it.")
    lock = Lock(folder.with_name(f"{folder.name}.lock"), f"The index folder {folder}")
    try:
        before = _size(folder)
        vacuum(folder, program)
        return before - _size(folder)
    finally:
        lock.release()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
