"""Keep the threads of a web process on one processor.

Only one thread of a Python process runs at a time: the one that holds the interpreter's lock. On several processors,
each handover of the lock wakes another processor, and the data follows to its caches. A search hands the lock over
dozens of times. So the threads of one process are faster on one processor, and the others are free for PostgreSQL,
Chroma and further web processes.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

# Each process claims a core under this name, so that two of them never share one while others are free.
CLAIMS = "semantix-web-on-core"
# What Linux tells of each processor.
PROCESSORS = Path("/sys/devices/system/cpu")


class Claim(NamedTuple):
    processor: int
    # Bound to the name of the claim until it is closed or its process ends, however it ends.
    held: socket.socket


def pin() -> Claim | None:
    """Keep this thread, and the threads that it will start, on a processor of a core that no web process has claimed.

    Returns the claim, which the process has to keep, or None where nothing was changed: there is only one processor,
    all cores are claimed, or the system does not allow it (only Linux can do it).
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(allowed) < 2:
        return None
    for processor in sorted(allowed, key=_preference):
        if held := _held(f"\0{CLAIMS}-{_core(processor)}"):
            with suppress(OSError):
                os.sched_setaffinity(0, {processor})
                return Claim(processor, held)
    return None


def _preference(processor: int) -> tuple[int, int]:
    """Fast processors come first. Containers on one machine do not see each other's claims: each has its own order."""
    return -_speed(processor), crc32(f"{socket.gethostname()} {processor}".encode())


def _speed(processor: int) -> int:
    """Comparable on one machine; 0 where the system does not tell."""
    for file in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with suppress(OSError, ValueError):
            return int((PROCESSORS / f"cpu{processor}" / file).read_text())
    return 0


def _core(processor: int) -> str:
    """The processors that share the core with this one, as Linux lists them: "0,8"."""
    with suppress(OSError):
        return (PROCESSORS / f"cpu{processor}" / "topology/core_cpus_list").read_text().strip()
    return str(processor)


def _held(name: str) -> socket.socket | None:
    """A socket with this name; None if another process has it. A zero byte in front: Linux makes no file for it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with suppress(OSError):
        held.bind(name)
        return held
    held.close()
    return None
