"""Child processes. None of them outlives this process, however this process ends."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from outbox.cluster.parent_death import end_with_parent
from semantix.allinone.account import Account
from semantix.allinone.errors import StartError, StartInterrupted

# The niceness (see nice(1)) of background work.
BACKGROUND_NICENESS = 5
# Linux shares the processor between sessions first; a process's niceness counts only within its session.
AUTOGROUP = Path("/proc/self/autogroup")


class Child:
    """A program that we started, in a session of its own: Ctrl-C reaches only us, and we choose the order of the stop.

    `stop()` sends the `stop_signals` one after the other and divides its time among them. On Linux the kernel sends
    the first one if we die. Start a child from the main thread: for the kernel the starting thread is the parent.
    A `background` child has a lower priority.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = Path("/"),
        account: Account | None = None,
        stop_signals: Sequence[signal.Signals] = (signal.SIGTERM,),
        background: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signals = stop_signals
        output = log.open("ab") if log else None
        self._log_begins = output.tell() if output else 0
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                preexec_fn=_before_exec(stop_signals[0], background),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        finally:
            if output:
                output.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code; minus the signal's number where a signal ended the child; None while it runs."""
        return self._process.poll()

    def is_alive(self) -> bool:
        return self.exit_code is None

    def stop(self, timeout: float = 5.0) -> None:
        """Send the stop signals, wait at most `timeout` seconds, then kill the child and the rest of its session."""
        for signal_number in self._stop_signals:
            if self.is_alive():
                self._process.send_signal(signal_number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout / len(self._stop_signals))
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def wait_until(
        self, ready: Callable[[], bool], *, timeout: float, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """Return as soon as `ready()` is true.

        Stops the child and raises StartError where it ends or `timeout` seconds pass, StartInterrupted where
        `stopping()` is true.
        """
        try:
            deadline = time.monotonic() + timeout
            alive = True
            while not ready():
                if stopping():
                    raise StartInterrupted(self.name)
                if not alive:
                    raise StartError(f"{self.name} ended while starting{self._last_words()}")
                if time.monotonic() > deadline:
                    raise StartError(f"{self.name} was not ready after {timeout:.0f} s{self._last_words()}")
                time.sleep(0.02)
                # ready() is called once more after this: a child that is meant to end may have ended since.
                alive = self.is_alive()
        except BaseException:
            self.stop()
            raise

    def _last_words(self) -> str:
        if self.log is None:
            return f" (exit code {self.exit_code})"
        lines = self.log.read_bytes()[self._log_begins :].decode(errors="replace").strip().splitlines()
        # Postgres logs the reason first, then hints and shutdown messages.
        reasons = (
            [line for line in lines if "FATAL" in line or "PANIC" in line] or lines or ["it wrote nothing"]
        )
        return f": {reasons[-1].strip()} (the whole log: {self.log})"


def end_leftovers(
    is_one: Callable[[psutil.Process], bool], stop_signal: signal.Signals, timeout: float = 10.0
) -> None:
    """End the programs that a killed start left over. `timeout` is in seconds.

    Call it only while holding the lock of the folder they work on: otherwise somebody may be using them.
    """
    leftovers = [process for process in psutil.process_iter() if _holds(is_one, process)]
    for process in leftovers:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
    _gone, alive = psutil.wait_procs(leftovers, timeout)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout)


def _holds(is_one: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    try:
        return is_one(process)
    except psutil.Error:  # it has ended, is a zombie or belongs to another account: we did not leave it
        return False


def _before_exec(death_signal: signal.Signals, background: bool) -> Callable[[], None]:
    parent = os.getpid()

    def in_the_child() -> None:
        end_with_parent(death_signal)
        if os.getppid() != parent:  # the parent died before the kernel knew our wish
            os._exit(1)
        # Chroma keeps files open for each collection. (The soft limit of 1024 protects programs that use select().)
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):  # macOS reports "unlimited" and refuses that value
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if background:
            _lower_priority()

    return in_the_child


def _lower_priority() -> None:
    """Where the system refuses this, the child keeps the normal priority."""
    with suppress(OSError):
        os.nice(BACKGROUND_NICENESS)
    with suppress(OSError):
        AUTOGROUP.write_text(str(BACKGROUND_NICENESS))
