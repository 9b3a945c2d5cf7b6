"""The origins whose pages may open a WebSocket."""

import pytest
from pytest_django.fixtures import Settings

from memories.api.live.origin import is_allowed, refuses


@pytest.fixture(autouse=True)
def _hosts(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["semantix.example", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.example"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://semantix.example", "semantix.example"),
        ("https://semantix.example", "semantix.example:443"),
        ("http://semantix.example:80", "semantix.example"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://console.example", "semantix.example"),
    ],
)
def test_a_page_of_the_service_or_of_a_trusted_origin(origin: str, host: str) -> None:
    assert is_allowed(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:8000"),
        ("http://127.0.0.1", "127.0.0.1:8000"),
        ("https://evil.example", "semantix.example"),
        ("http://evil.example:8000", "evil.example:8000"),
        ("null", "semantix.example"),
        ("", ""),
    ],
)
def test_a_page_of_another_port_host_or_of_no_host(origin: str, host: str) -> None:
    assert not is_allowed(origin, host)


def test_a_program_sends_no_origin() -> None:
    assert not refuses({"host": "semantix.example"})
