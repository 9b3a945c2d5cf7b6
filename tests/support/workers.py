"""Workers that can be paused or killed before and after each statement to Postgres and each call to Chroma."""

import threading
from collections.abc import Callable
from typing import Any

import httpx
from django.db import connection

from memories.index.client import get_client

PATIENCE = 100.0  # seconds until a test is told that a worker hangs

_current = threading.local()


class Killed(BaseException):
    """From here on the worker does nothing any more, as after SIGKILL: not even its `finally` reaches a store."""


class Worker:
    """Runs `work` in a thread up to its `pause_at`-th boundary, then waits to be resumed or killed.

    A boundary inside a transaction is paused at only if `in_transactions`: its locks make others wait.
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
        assert self._halted.wait(PATIENCE), "a worker hangs"

    def resume(self) -> None:
        """Let it go on to its end."""
        self._go_on.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a worker hangs"
        self.paused = False

    def kill(self, *, after: int = 0) -> None:
        """Let it come across `after` boundaries more, and no further."""
        self._dies_after = after
        self.resume()

    def boundary(self) -> None:
        self._left -= 1
        if self._left <= 0 and not self._go_on.is_set() and self._may_pause():
            self.paused = True
            self._halted.set()
            self._go_on.wait(PATIENCE)
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
    """Make the calls of this process to Chroma boundaries of the worker that makes them."""
    session: httpx.Client = get_client()._server._session  # type: ignore[attr-defined]  # noqa: SLF001
    session.event_hooks = {"request": [_boundary], "response": [_boundary]}


def _boundary(_message: httpx.Request | httpx.Response) -> None:
    worker = getattr(_current, "worker", None)
    if worker is not None:
        worker.boundary()
