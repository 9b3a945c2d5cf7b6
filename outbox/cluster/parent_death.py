"""None of the cluster's processes outlives the one that looks after it.

Where that one is killed, the others went on: delivering, but with nobody who ends what hangs or replaces what dies, and
after the next start beside a second cluster. Linux tells a process that its parent died; elsewhere they do go on.
"""

import ctypes
import os
import signal
import sys
from functools import partial

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent (to the kernel: the thread that forked it) ends."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, by)


def prevent() -> None:
    """Here and in every process that this one forks. The sentinel's."""
    end_with(os.getppid())
    os.register_at_fork(after_in_child=partial(end_with, os.getpid()))


def end_with(parent: int) -> None:
    """Be killed when that process ends, if it is the parent: not in what a worker forks for itself, which may come
    from a thread that ends sooner."""
    if os.getppid() == parent:
        end_with_parent(signal.SIGKILL)
