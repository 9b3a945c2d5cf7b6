"""A Chroma server on this machine is asked directly, whatever proxy the shell names."""

import pytest
from django.conf import settings

from memories.index import client


def test_a_proxy_is_not_asked_for_a_loopback_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody is there

    assert client.connect(settings.CHROMA_URL, timeout=60).heartbeat()
