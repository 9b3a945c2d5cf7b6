"""Keep the threads of a web process on one processor.

Only one thread of a Python process runs at a time: the one that holds the interpreter's lock. On several processors,
each handover of the lock wakes another processor, and the data follows to its caches. A search hands the lock over
dozens of times. So the threads of one process are faster on one processor, and the others are free for PostgreSQL,
Chroma and further web processes.
"""

import os
import socket
from contextlib import suppress
from zlib import crc32

# Each process claims its processor under this name, so that two of them never share one while others are free.
CLAIMS = "semantix-web-on-processor"

# The claim of this process. The system frees it when the process ends, however it ends.
_claims: list[socket.socket] = []


def pin() -> int | None:
    """Keep this thread, and the threads that it will start, on a processor that no other web process has claimed.

    Returns the number of the processor, or None where nothing was changed: there is only one, all are claimed, or the
    system cannot do it (only Linux can).
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) < 2:
        return None
    # Containers on one machine do not see each other's claims. They start at different processors.
    start = crc32(socket.gethostname().encode()) % len(allowed)
    for processor in allowed[start:] + allowed[:start]:
        if claim := _claimed(processor):
            _claims.append(claim)
            os.sched_setaffinity(0, {processor})
            return processor
    return None


def _claimed(processor: int) -> socket.socket | None:
    """The claim of the processor; None if another process has it. The name is in the abstract namespace of Linux."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with suppress(OSError):
        claim.bind(f"\0{CLAIMS}-{processor}")
        return claim
    claim.close()
    return None
