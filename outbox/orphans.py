"""None of the cluster's processes outlives the one that looks after it.

Where that one is killed, the others went on: delivering, but with nobody who ends what hangs or replaces what dies, and
after the next start beside a second cluster. Linux tells a process that its parent died; elsewhere they do go on.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent(by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent (to the kernel: the thread that forked it) ends."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, by)


def prevent() -> None:
    """Here and in every child that this process forks. The sentinel's."""
    sentinel = os.getpid()

    def in_child() -> None:
        # Not what a worker forks for itself: that may come from a thread which ends before it.
        if os.getppid() == sentinel:
            end_with_parent(signal.SIGKILL)

    end_with_parent(signal.SIGKILL)
    os.register_at_fork(after_in_child=in_child)
