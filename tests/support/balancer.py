"""A real HAProxy before several web servers. A request that a server did not take goes to another one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.programs import require

PAGE = Path(__file__).parents[2] / "docs/how-to/scale.md"
# For the tests: what it does goes to its log, and it tells which servers it holds for up.
GLOBAL = """
global
    maxconn 500
    log stdout format raw local0
"""
FRONTEND = "frontend semantix\n"
TOLD = """
    log global
    option httplog
    stats uri /haproxy
"""


class Balancer(NamedTuple):
    url: str
    servers: int

    def sends_to_all(self) -> bool:
        """Whether it holds every server for ready."""
        table = httpx.get(f"{self.url}/haproxy;csv", timeout=5, verify=False).text
        return len(re.findall(r"^web,web\d+,.*,UP,", table, re.MULTILINE)) == self.servers


@contextmanager
def balancer(folder: Path, servers: Sequence[str]) -> Iterator[Balancer]:
    """Run it before the web servers at these addresses (host:port)."""
    program = require("haproxy")
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_configuration(port, servers))
    url = f"http://127.0.0.1:{port}"
    child = Child("HAProxy", [program, "-f", str(configuration)], log=folder / "haproxy.log")
    try:
        child.wait_until(lambda: _answers(url), timeout=60)
        yield Balancer(url, len(servers))
    finally:
        child.stop()


def _configuration(port: int, servers: Sequence[str]) -> str:
    """The one that the documentation shows, with our addresses."""
    found = re.search(r"^```haproxy\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    shown = found[1].replace("bind :80", f"bind 127.0.0.1:{port}").replace(FRONTEND, FRONTEND + TOLD)
    without_servers = re.sub(r"^    server .*\n", "", shown, flags=re.MULTILINE)
    lines = [f"    server web{number} {address}\n" for number, address in enumerate(servers)]
    return f"{GLOBAL}{without_servers}{''.join(lines)}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5, verify=False).is_success
    except httpx.TransportError:
        return False
