"""Names a process so that a later process of the same machine can tell for sure that it is gone.

A process id alone is not enough: the system gives it to a new process later, and another container has processes with
the same ids. So the name also has the boot of the kernel, the namespace of process ids, and the start time of the
process. This needs Linux. On other systems the name is empty, and nothing is known.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def identity(pid: int) -> str:
    """The name of a living process of this machine, or an empty text."""
    try:
        return f"{_here()}:{pid}:{_start_time(pid)}"
    except OSError:
        return ""


def is_gone(identity: str) -> bool:
    """Whether the process is known to be gone. False for a process of another machine, whose fate is not known."""
    if not identity:
        return False
    machine, pid, start_time = identity.rsplit(":", 2)
    try:
        if machine != _here():
            return False
    except OSError:
        return False
    try:
        return _start_time(int(pid)) != start_time
    except OSError:
        return True


def _here() -> str:
    """The boot of the kernel and the namespace of process ids."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.readlink(PROC / 'self/ns/pid')}"


def _start_time(pid: int) -> str:
    """Ticks from the boot to the start. Raises OSError if the process does not exist, or has ended (a zombie)."""
    # The second field is the name in parentheses, which may itself contain spaces and parentheses.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    state, start_time = fields[0], fields[19]
    if state in ("Z", "X"):
        raise ProcessLookupError(pid)
    return start_time
