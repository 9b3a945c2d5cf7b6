"""How many processors this process may use: those of the machine, less what a container or `taskset` takes away."""

import math
import os
from pathlib import Path

# "max 100000", or the microseconds that may be used in each period: "150000 100000".
CONTAINER_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def usable(limit_file: Path = CONTAINER_LIMIT) -> int:
    """At least 1. Half a processor counts as one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit_file.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return allowed
