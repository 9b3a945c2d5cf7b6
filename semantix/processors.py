"""How many processors this process may use, and how many processes of the web server go with them."""

import math
import os
from pathlib import Path

# "max 100000", or the microseconds that may be used in each period: "150000 100000".
CONTAINER_LIMIT = Path("/sys/fs/cgroup/cpu.max")
# Each has WEB_THREADS (8) connections, and PostgreSQL is shipped with room for 200.
MOST_WEB_PROCESSES = 16


def usable(limit_file: Path = CONTAINER_LIMIT) -> int:
    """The processors of the machine, less what a container or `taskset` takes away; at least 1.

    Half a processor counts as one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit_file.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return allowed


def web_processes(usable: int) -> int:
    """The processes of the web server that use these processors well: one for each two processors.

    The other parts of the service need the rest. The threads of one Python process take turns, so it needs no second
    processor: see semantix/web/pinning.py.
    """
    return max(1, min(usable // 2, MOST_WEB_PROCESSES))
