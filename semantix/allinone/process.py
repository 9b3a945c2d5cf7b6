"""A child process and its end: nothing started here outlives us, however we end."""

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

# How much the work behind gives way: as nice(1) counts.
BACKGROUND_NICENESS = 5
# Where Linux shares the processor between sessions first, and looks at niceness only within each.
AUTOGROUP = Path("/proc/self/autogroup")


class Child:
    """A program we started, in a session of its own: a Ctrl-C reaches us alone, and we choose the order.

    `stop_signals` are sent one after the other, each given its share of the time; the first is also what
    the kernel sends should we die without a word (Linux). Start it from the main thread: to the kernel the
    thread that started it is its parent. One in the `background` gives way where the processor is short.
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
        """None while it runs; minus the signal's number where a signal ended it."""
        return self._process.poll()

    def is_alive(self) -> bool:
        return self.exit_code is None

    def stop(self, timeout: float = 5.0) -> None:
        """Ask, wait at most `timeout` seconds, then kill it and what is left of its session."""
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
        """Return as soon as `ready()`. Anything else is raised, after stopping the child:
        StartError when it ends or `timeout` seconds pass, StartInterrupted when `stopping()`."""
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
                # Then ready() once more: one that is to end may have done so since it was asked.
                alive = self.is_alive()
        except BaseException:
            self.stop()
            raise

    def _last_words(self) -> str:
        if self.log is None:
            return f" (exit code {self.exit_code})"
        lines = self.log.read_bytes()[self._log_begins :].decode(errors="replace").strip().splitlines()
        # Postgres gives the reason first, then hints and farewells.
        telling = (
            [line for line in lines if "FATAL" in line or "PANIC" in line] or lines or ["it wrote nothing"]
        )
        return f": {telling[-1].strip()} (the whole log: {self.log})"


def end_leftovers(
    is_one: Callable[[psutil.Process], bool], stop_signal: signal.Signals, timeout: float = 10.0
) -> None:
    """End the programs that a killed start left over.

    Only for who holds the lock of what they work on: otherwise they may be somebody's.
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
    except psutil.Error:  # gone, a zombie, or another account's: none that we left
        return False


def _before_exec(death_signal: signal.Signals, background: bool) -> Callable[[], None]:
    parent = os.getpid()

    def in_the_child() -> None:
        end_with_parent(death_signal)
        if os.getppid() != parent:  # it died before we asked to be told
            os._exit(1)
        # Chroma holds files open for each collection; a soft limit of 1024 is for who uses select().
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):  # macOS says "unlimited" and refuses it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if background:
            _give_way()

    return in_the_child


def _give_way() -> None:
    """Wherever that is refused, it runs like any other."""
    with suppress(OSError):
        os.nice(BACKGROUND_NICENESS)
    with suppress(OSError):
        AUTOGROUP.write_text(str(BACKGROUND_NICENESS))
