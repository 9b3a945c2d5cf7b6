"""Another machine: a network of its own whose cable can be pulled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from tests.support.proxy import Proxy

_numbers = count(1)
# The name of the cable's other end, in the namespace.
PEER = "peer0"


class Machine(Protocol):
    """`argv`: what to put before a command to run it there. `database_url`: PostgreSQL, as seen from there.

    `address`: its own, at which its servers are reached. `gateway`: the one at which it reaches this machine.
    """

    argv: list[str]
    database_url: str
    address: str
    gateway: str

    def cut(self) -> None:
        """Let no packet pass. Neither side is told."""

    def rejoin(self) -> None:
        """Let packets pass again."""


@dataclass
class Behind:
    """On this machine's own network. Everything passes a proxy, which can keep silent."""

    proxy: Proxy
    argv: list[str]
    address: str = "127.0.0.1"
    gateway: str = "127.0.0.1"

    @property
    def database_url(self) -> str:
        return self.proxy.url

    def cut(self) -> None:
        self.proxy.silence()

    def rejoin(self) -> None:
        self.proxy.heal()


@dataclass
class Namespace:
    """In a network namespace, at the end of a virtual cable."""

    proxy: Proxy
    argv: list[str]
    cable: str
    address: str
    gateway: str

    @property
    def database_url(self) -> str:
        return self.proxy.url

    def cut(self) -> None:
        _ip("link", "set", "dev", self.cable, "down")

    def rejoin(self) -> None:
        _ip("link", "set", "dev", self.cable, "up")


@contextmanager
def machine(database_url: str) -> Iterator[Machine]:
    """A network namespace where this process may make one, else a proxy."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(_namespace(database_url))
        except _NotAllowed:
            proxy = stack.enter_context(Proxy(database_url))
            yield Behind(proxy, [])


class _NotAllowed(Exception):
    """This process may not make a network namespace."""


@contextmanager
def _namespace(database_url: str) -> Iterator[Machine]:
    number = f"{os.getpid() % 10_000}{next(_numbers)}"
    name, cable = f"sx{number}", f"sx{number}a"
    net = f"10.{os.getpid() % 200 + 20}.{next(_numbers) % 250}"
    if not shutil.which("ip"):
        raise _NotAllowed
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        raise _NotAllowed from error
    try:
        _ip("link", "add", cable, "type", "veth", "peer", "name", PEER, "netns", name)
        _ip("addr", "add", f"{net}.1/24", "dev", cable)
        _ip("link", "set", "dev", cable, "up")
        _ip("-n", name, "addr", "add", f"{net}.2/24", "dev", PEER)
        _ip("-n", name, "link", "set", "dev", PEER, "up")
        _ip("-n", name, "link", "set", "dev", "lo", "up")
        with Proxy(database_url, host=f"{net}.1") as proxy:
            yield Namespace(proxy, ["ip", "netns", "exec", name], cable, f"{net}.2", f"{net}.1")
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
