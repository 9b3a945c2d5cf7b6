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
    ports: Sequence[int]

    def sends_to_all(self) -> bool:
        """Whether it holds every server for ready."""
        table = httpx.get(f"{self.url}/haproxy;csv", timeout=5, verify=False).text
        return all(re.search(rf"^web,web{port},.*,UP,", table, re.MULTILINE) for port in self.ports)


@contextmanager
def balancer(folder: Path, ports: Sequence[int]) -> Iterator[Balancer]:
    """Run it before the web servers on these ports of loopback."""
    program = require("haproxy")
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_configuration(port, ports))
    url = f"http://127.0.0.1:{port}"
    child = Child("HAProxy", [program, "-f", str(configuration)], log=folder / "haproxy.log")
    try:
        child.wait_until(lambda: _answers(url), timeout=60)
        yield Balancer(url, ports)
    finally:
        child.stop()


def _configuration(port: int, ports: Sequence[int]) -> str:
    """The one that the documentation shows, with our addresses."""
    found = re.search(r"^```haproxy\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    shown = found[1].replace("bind :80", f"bind 127.0.0.1:{port}").replace(FRONTEND, FRONTEND + TOLD)
    without_servers = re.sub(r"^    server .*\n", "", shown, flags=re.MULTILINE)
    servers = "\n".join(f"    server web{each} 127.0.0.1:{each}" for each in ports)
    return f"{GLOBAL}{without_servers}{servers}\n"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5, verify=False).is_success
    except httpx.TransportError:
        return False
