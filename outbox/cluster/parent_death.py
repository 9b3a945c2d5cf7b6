"""No process of the cluster outlives the sentinel, which watches over the others.

Without this, the other processes go on after the sentinel was killed: they deliver, but nobody ends a task that hangs
or replaces a dead process, and after the next start two clusters run. On Linux the kernel signals a process when its
parent dies. On other systems the processes do go on.
"""

import ctypes
import os
import signal
import sys
from functools import partial

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends.

    To the kernel, the parent is the thread that forked this process.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, by)


def end_all_with_sentinel() -> None:
    """End this process with its parent, and every process that it forks with this one. The sentinel calls it."""
    end_with(os.getppid())
    os.register_at_fork(after_in_child=partial(end_with, os.getpid()))


def end_with(parent: int) -> None:
    """Be killed when this parent ends.

    Does nothing if the parent is another process: a worker may fork from a thread that ends before the worker does.
    """
    if os.getppid() == parent:
        end_with_parent(signal.SIGKILL)
