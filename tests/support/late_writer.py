"""A process whose write reaches Chroma late, and that dies before it looks at the rows again."""

import threading
from collections.abc import Callable
from typing import Any, Self

import httpx
from django.db import connection

from memories.index.client import get_client
from tests.support.workers import HANG_SECONDS, Killed


class LateWriter:
    """Runs `work` inside the `with`, in a thread, up to its first upsert. That waits until `land()`.

    When Chroma has answered the upsert, the process dies as after SIGKILL; with `lives`, it goes on.
    """

    def __init__(self, work: Callable[[], object], *, lives: bool = False) -> None:
        self._work = work
        self._lives = lives
        self._dead = False
        self._sends, self._may_land = threading.Event(), threading.Event()
        self._others = set(threading.enumerate())
        # `work` may write in a thread of its own.
        self._sender: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def land(self) -> None:
        """Let Chroma have the write, and the process come to its end."""
        self._may_land.set()
        self._thread.join(HANG_SECONDS)
        assert not self._thread.is_alive(), "a writer hangs"

    def __enter__(self) -> Self:
        self._session: httpx.Client = get_client()._server._session  # type: ignore[attr-defined]  # noqa: SLF001
        self._hooks = self._session.event_hooks
        self._session.event_hooks = {"request": [self._request], "response": [self._response]}
        self._thread.start()
        assert self._sends.wait(HANG_SECONDS), "nothing is written"
        return self

    def __exit__(self, *_error: object) -> None:
        self.land()
        self._session.event_hooks = self._hooks

    def _run(self) -> None:
        try:
            with connection.execute_wrapper(self._statement):
                self._work()
        except Killed:
            pass
        finally:
            connection.close()

    def _request(self, request: httpx.Request) -> None:
        if not request.url.path.endswith("/upsert") or threading.current_thread() in self._others:
            return
        if self._sender is None:
            self._sender = threading.current_thread()
            self._sends.set()
            assert self._may_land.wait(HANG_SECONDS)

    def _response(self, response: httpx.Response) -> None:
        if threading.current_thread() is self._sender and response.request.url.path.endswith("/upsert"):
            self._dead = not self._lives
            self._live_or_die()

    def _statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self._live_or_die()
        return execute(*arguments)

    def _live_or_die(self) -> None:
        if self._dead:
            raise Killed
