"""The web server as a process, started as `manage.py up` starts it.

Tests that send it many requests pass `verify=False`: otherwise httpx loads certificates each time, which http never
needs.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import httpx
from django.conf import settings

from semantix.allinone import web
from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.waiting import wait_until


class WebServer:
    """Runs inside the `with`. `argv` stands before the command, `environment` overrides variables of this process."""

    def __init__(
        self,
        *,
        log: Path | None = None,
        argv: Sequence[str] = (),
        address: str = "127.0.0.1",
        **environment: str,
    ) -> None:
        self.port = free_port()
        self.address = f"{address}:{self.port}"
        self.url = f"http://{self.address}"
        self._command = [*argv, *web.command(address, self.port)]
        # One process on every machine, so that a test knows which one answers.
        self._environment, self._log = {"WEB_WORKERS": "1", **environment}, log
        self._child = self._start()

    def _start(self) -> Child:
        return Child(
            "Web server",
            self._command,
            env=os.environ | self._environment,
            cwd=settings.BASE_DIR,
            log=self._log,
        )

    def kill_and_restart(self) -> None:
        """Kill it, start it again on the same port, and wait until it answers."""
        os.kill(self._child.pid, signal.SIGKILL)
        self.stop_and_restart()

    def stop_and_restart(self) -> None:
        """Let it end its requests, start it again on the same port, and wait until it answers."""
        self._child.stop(timeout=30)
        self._child = self._start()
        self._wait_until_it_answers()

    def __enter__(self) -> Self:
        self._wait_until_it_answers()
        return self

    def _wait_until_it_answers(self) -> None:
        wait_until(lambda: self.answers() or not self._child.is_alive())
        assert self._child.is_alive(), "the web server ended at its start"

    def __exit__(self, *_exc: object) -> None:
        self._child.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask_to_stop(self) -> None:
        os.kill(self._child.pid, signal.SIGTERM)

    def answers(self) -> bool:
        """Whether it answers at this moment."""
        try:
            return httpx.get(f"{self.url}/health/live", timeout=60, verify=False).is_success
        except httpx.TransportError:
            return False
