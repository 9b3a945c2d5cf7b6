"""The configuration files on docs/how-to/mcp.md: each names an address and a header with which a client connects."""

import json
import re
import tomllib
from typing import Any

import pytest

from tests.clients.conftest import Account
from tests.support.documented.blocks import blocks_of
from tests.support.mcp import LIST_TOOLS, send
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

BLOCKS = blocks_of(ROOT / "docs/how-to/mcp.md")
CONFIGURATIONS: list[dict[str, Any]] = [
    json.loads(block.text) if block.language == "json" else tomllib.loads(block.text)
    for block in BLOCKS
    if block.language in ("json", "toml")
]
[SERVERS] = [
    [
        server["semantix"]
        for configuration in CONFIGURATIONS
        for name, server in configuration.items()
        if name in ("mcpServers", "servers", "mcp_servers")
    ]
]


def test_every_client_is_there() -> None:
    assert len(SERVERS) == 5
    assert len([server for server in SERVERS if "url" in server]) == 4


@pytest.mark.parametrize("server", [server for server in SERVERS if "url" in server], ids=str)
def test_the_address_and_the_header_connect(service: str, account: Account, server: dict[str, Any]) -> None:
    url = server["url"].replace("https://memory.example.org", service)
    [header] = server.get("headers", {"Authorization": "Bearer ${SEMANTIX_API_KEY}"}).items()
    value = re.sub(r"\$\{[^}]+\}", account.key, header[1])

    answer = send(url.removesuffix("/mcp"), LIST_TOOLS, **{header[0]: value})

    assert answer.status_code == 200
    assert "result" in answer.json()


def test_what_a_command_needs_is_what_semantix_mcp_reads() -> None:
    [server] = [server for server in SERVERS if "command" in server]
    source = (ROOT / "clients/python/src/semantix_client/mcp.py").read_text()

    assert server["command"].endswith("/semantix-mcp")
    assert server["env"].keys() < set(re.findall(r'environ\.get\("(\w+)"', source))
