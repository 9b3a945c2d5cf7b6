"""A Chroma server on this machine is asked directly, whatever proxy the shell names, and what it was sent is let go."""

import gc
import weakref

import pytest
from django.conf import settings

from memories.index import client


def test_a_proxy_is_not_asked_for_a_loopback_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody is there

    assert client.connect(settings.CHROMA_URL, timeout=60).heartbeat()


def test_what_was_sent_is_let_go_of_without_the_garbage_collector() -> None:
    session = client.Session("http://127.0.0.1:1", trust_env=False, verify=False)
    gc.disable()
    try:
        response = session.post(f"{settings.CHROMA_URL}/api/v2/nothing", content=b"vectors")
        request = weakref.ref(response.request)
        del response
        assert request() is None
    finally:
        gc.enable()
        session.close()
