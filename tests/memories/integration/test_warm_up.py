"""What a worker loads before its first event, and that nothing there holds it up."""

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from memories.index import client
from memories.warmup import warm_up
from tests.support.paths import ROOT


@pytest.fixture
def mute_server() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_worker_is_connected_before_its_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_clients", {})
    monkeypatch.setattr(client, "HEARTBEAT_SECONDS", 60.0)

    warm_up()

    assert len(client._clients) == 1  # noqa: SLF001


def test_a_mute_chroma_does_not_hold_a_worker_up(
    mute_server: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """With the timeout of a call it would be held here for ever."""
    settings.CHROMA_URL, settings.CHROMA_TIMEOUT_SECONDS = mute_server, None

    with caplog.at_level(logging.INFO):
        warm_up()

    assert f"chroma is unavailable: {mute_server}: timed out; its events wait" in caplog.messages


def test_the_libraries_of_a_worker_are_imported_before_the_fork_and_start_no_thread() -> None:
    """A fork inherits no thread, but the locks that one holds."""
    code = (
        "import django, sys, threading; django.setup(); from memories.warmup import import_libraries; "
        "import_libraries(); print('chromadb.api.client' in sys.modules, threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "1"]
