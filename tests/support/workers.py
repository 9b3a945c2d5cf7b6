"""Workers that a test can pause or kill before and after each statement to PostgreSQL and each call to Chroma."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
from django.db import connection

from memories.index.client import get_client

# Seconds until a test fails because a worker hangs.
HANG_SECONDS = 100.0

_current = threading.local()


class Killed(BaseException):
    """The worker does nothing more, as after SIGKILL: not even its `finally` blocks reach a store."""


class Worker:
    """Runs `work` in a thread up to its `pause_at`-th boundary. There it waits until the test resumes or kills it.

    A boundary inside a transaction pauses only if `in_transactions` is true, because the locks make others wait.
    """

    def __init__(self, work: Callable[[], object], *, pause_at: int, in_transactions: bool = False) -> None:
        self.paused = False
        self.error: Exception | None = None
        self._work = work
        self._left = pause_at
        self._in_transactions = in_transactions
        self._dies_after: int | None = None
        self._halted = threading.Event()
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._halted.wait(HANG_SECONDS), "a worker hangs"

    def resume(self) -> None:
        """Let the worker run to its end."""
        self._go_on.set()
        self._thread.join(HANG_SECONDS)
        assert not self._thread.is_alive(), "a worker hangs"
        self.paused = False

    def kill(self, *, after: int = 0) -> None:
        """Let the worker pass `after` more boundaries and then die."""
        self._dies_after = after
        self.resume()

    def boundary(self) -> None:
        self._left -= 1
        if self._left <= 0 and not self._go_on.is_set() and self._may_pause():
            self.paused = True
            self._halted.set()
            self._go_on.wait(HANG_SECONDS)
        if self._dies_after is not None:
            self._dies_after -= 1
            if self._dies_after < 0:
                raise Killed

    def _may_pause(self) -> bool:
        return self._in_transactions or not connection.in_atomic_block

    def _run(self) -> None:
        _current.worker = self
        try:
            with connection.execute_wrapper(self._statement):
                self._work()
        except Killed:
            pass
        except Exception as error:
            self.error = error
        finally:
            connection.close()
            self._halted.set()

    def _statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.boundary()
        result = execute(*arguments)
        self.boundary()
        return result


def watch_chroma() -> None:
    """Make each call to Chroma in this process a boundary of the worker that makes it."""
    session: httpx.Client = get_client()._server._session  # type: ignore[attr-defined]  # noqa: SLF001
    session.event_hooks = {"request": [_boundary], "response": [_boundary]}


def _boundary(_message: httpx.Request | httpx.Response) -> None:
    worker = getattr(_current, "worker", None)
    if worker is not None:
        worker.boundary()
