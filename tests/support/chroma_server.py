"""A Chroma server for one test, which may stop it, suspend it and delete its data."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pytest_django.fixtures import Settings

from semantix.allinone import chroma
from tests.support.free_port import free_port
from tests.support.waiting import wait_until


class ChromaServer:
    """Always restarts on the same port, so that clients can reconnect."""

    def __init__(self, folder: Path, open_collections: int = chroma.OPEN_COLLECTIONS) -> None:
        self.folder = folder
        self.open_collections = open_collections
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return self.service.url

    def start(self) -> None:
        log = self.folder.with_suffix(".log")
        self.service = chroma.start(
            self.folder, log=log, port=self.port, open_collections=self.open_collections
        )

    def stop(self) -> None:
        self.service.stop()

    def lose_its_data(self) -> None:
        """Stop, delete the folder, start over an empty folder."""
        self.stop()
        shutil.rmtree(self.folder)
        self.start()

    @contextmanager
    def mute(self) -> Iterator[None]:
        """Inside the `with` the server accepts connections and does not answer."""
        os.kill(self.service.pid, signal.SIGSTOP)
        try:
            # A thread on another processor may still answer after the signal was sent.
            wait_until(lambda: psutil.Process(self.service.pid).status() == psutil.STATUS_STOPPED)
            yield
        finally:
            os.kill(self.service.pid, signal.SIGCONT)


@contextmanager
def own_chroma(
    folder: Path, settings: Settings, open_collections: int = chroma.OPEN_COLLECTIONS
) -> Iterator[ChromaServer]:
    """Start a server. Inside the `with` the settings name it."""
    server = ChromaServer(folder / "chromadb", open_collections)
    before = settings.CHROMA_URL
    settings.CHROMA_URL = server.url
    try:
        yield server
    finally:
        settings.CHROMA_URL = before
        server.stop()
