"""The web server as a process, started as `manage.py up` starts it.

Tests that send it many requests pass `verify=False`: otherwise httpx loads certificates each time, which http never
needs.
"""

import os
from pathlib import Path
from typing import Self

import httpx
from django.conf import settings

from semantix.allinone import web
from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.waiting import wait_until


class WebServer:
    """Runs inside the `with`. `environment` overrides variables of this process."""

    def __init__(self, *, log: Path | None = None, **environment: str) -> None:
        self.port = free_port()
        self.url = web.base_url("127.0.0.1", self.port)
        self._child = Child(
            "Web server",
            web.command("127.0.0.1", self.port),
            env=os.environ | environment,
            cwd=settings.BASE_DIR,
            log=log,
        )

    def __enter__(self) -> Self:
        wait_until(lambda: self._answers() or not self._child.is_alive())
        assert self._child.is_alive(), "the web server ended at its start"
        return self

    def __exit__(self, *_exc: object) -> None:
        self._child.stop()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", timeout=60, verify=False).is_success
        except httpx.TransportError:
            return False
