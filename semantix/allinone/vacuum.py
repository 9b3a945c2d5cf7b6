"""Vacuuming the index folder: deleted text leaves Chroma's files. No server may have the folder open meanwhile.

Two places keep it. The database has freed pages: Chroma's own program rewrites them. The files of the vectors begin
with room for a thousand, and Chroma fills that room with whatever its memory held before, such as text of memories.
"""

import os
import struct
import subprocess
from pathlib import Path

from semantix.allinone import chroma_database
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock

# Rewriting the database takes about a second a gigabyte.
TIMEOUT_SECONDS = 3600

# The begin of hnswlib's header.bin, without padding: version of the format, offset of the first place, places, used
# places, bytes of a place.
HEADER = struct.Struct("=i4Q")
FORMAT = 1
BYTES_OF_A_LENGTH = 4


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
    chroma_database.keep_write_ahead_log(folder)
    for header in folder.glob("*/header.bin"):
        _clear_unused_places(header)
    erased_marker(folder).unlink(missing_ok=True)


def _clear_unused_places(header: Path) -> None:
    """Fill the unused places of one collection's files with zeros. Raises StartError for a format that is not known."""
    try:
        version, _offset, _places, used, size = HEADER.unpack_from(header.read_bytes())
    except struct.error:
        return  # Chroma was killed while it made the files. It makes them again.
    if version != FORMAT:
        raise StartError(
            f"{header} has the format {version}, and only the unused places of format {FORMAT} can be cleared."
        )
    for name, bytes_of_a_place in (("data_level0.bin", size), ("length.bin", BYTES_OF_A_LENGTH)):
        _clear_from(header.with_name(name), used * bytes_of_a_place)


def _clear_from(file: Path, position: int) -> None:
    size = file.stat().st_size
    if position < size:
        # What a file gains by growing is zeros.
        os.truncate(file, position)
        os.truncate(file, size)


def vacuum_alone(folder: Path, program: list[str]) -> int:
    """Vacuum the folder while no server has it open; returns the bytes that this freed.

    Raises StartError where a server runs over it, or where it does not exist.
    """
    if not folder.is_dir():
        raise StartError(f"There is no index folder {folder}. CHROMADB_PATH names it, or --folder.")
    lock = Lock(folder.with_name(f"{folder.name}.lock"), f"The index folder {folder}")
    try:
        before = _size(folder)
        vacuum(folder, program)
        return before - _size(folder)
    finally:
        lock.release()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
