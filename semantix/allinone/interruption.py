"""Requests to stop: Ctrl-C, a service manager's SIGTERM, a closed terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from semantix.allinone.errors import StartInterrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A flag that the signals set: calling it tells whether a stop was requested.

    The signals raise no exception by default, because an exception at an arbitrary line could lose track of a process
    that was started and not yet recorded.
    """

    def __init__(self) -> None:
        self._asked = False
        self._raises = False
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores SIGHUP; keep that
            signal.signal(signal.SIGHUP, self._on_signal)

    def __call__(self) -> bool:
        return self._asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block a signal raises StartInterrupted. For long work that starts no process.

        The interrupted work may raise an error of its own or suppress the exception; then it is raised here.
        """
        self.check()
        self._raises = True
        try:
            yield
        except Exception:
            self.check()
            raise
        finally:
            self._raises = False
        self.check()

    def check(self) -> None:
        if self._asked:
            raise StartInterrupted

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._raises:
            self._raises = False
            raise StartInterrupted
