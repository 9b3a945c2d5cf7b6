"""When each handler began: appended to a file by whichever process ran it, a few microseconds a call."""

import os
import struct
import time
from pathlib import Path

RECORD = struct.Struct("<qq")
VARIABLE = "BENCHMARK_STARTS"

_file: int | None = None


def note(number: int) -> None:
    """What every subject's handler does, and all it does."""
    global _file
    if _file is None:
        _file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND)
    os.write(_file, RECORD.pack(number, time.time_ns()))


def count(path: Path) -> int:
    return path.stat().st_size // RECORD.size


def read(path: Path) -> dict[int, int]:
    """When each number's handler began first, in nanoseconds of the clock."""
    noted: dict[int, int] = {}
    for number, at in RECORD.iter_unpack(path.read_bytes()):
        noted.setdefault(number, at)
    return noted
