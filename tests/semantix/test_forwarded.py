"""X-Forwarded-For and X-Forwarded-Proto are believed only from the proxies in FORWARDED_ALLOW_IPS."""

from collections.abc import Mapping

import httpx
import pytest

from tests.support.processes import environment
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


def over_https(proxies: Mapping[str, str]) -> httpx.Response:
    """A request that a proxy says came over https, to a server that redirects http."""
    with WebServer(**environment() | {"HTTPS": "true"} | proxies) as server:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        return httpx.get(f"{server.url}/memory-logs", headers=headers, timeout=60)


def test_by_default_nobody_is_believed_not_even_on_loopback() -> None:
    assert over_https({}).status_code == 301


@pytest.mark.parametrize("proxies", ["127.0.0.1", "10.0.0.0/8,127.0.0.0/8"])
def test_a_named_proxy_is_believed(proxies: str) -> None:
    assert over_https({"FORWARDED_ALLOW_IPS": proxies}).status_code == 200


def test_another_address_is_not_believed() -> None:
    assert over_https({"FORWARDED_ALLOW_IPS": "10.0.0.1"}).status_code == 301
