"""The REST API with the whole pipeline: create, read, search and batch, and the same create without an outbox.

Eight kept connections each send the next request when the answer has come. `search` goes over 40 tenants of 25
memories, as in `costs`. `search_alike` is a hard case: one tenant, all of whose memories have the question's words.
A last measurement creates memories at a steady rate, as agents do. `inline` is the same create on the same web server
without an outbox: it calls a provider that takes 300 ms, writes to Chroma, and then answers. `ratio` is the median of
`inline` divided by the median of `semantix`, each at the same load.
"""

import json
import os
import socket
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Self
from urllib.parse import urlsplit

from benchmarks.__main__ import Figures
from benchmarks.service import ROOT, cluster, percentiles, say, stores, until_indexed, web
from semantix.allinone import probe
from semantix.allinone.process import Child

CONNECTIONS, A_BATCH = 8, 1000
# Nearly as many as the inline service can answer on so many connections.
STEADY_PER_S = 20.0
NUMBERS = count()
TENANT = {"user_id": "benchmark", "project_id": "api"}

Request = tuple[str, str, bytes]
Ask = Callable[[], Request]


def run(options: Namespace) -> Figures:
    seconds = 2.0 if options.quick else 8.0
    # Batches of some seconds keep the cluster busy for longer; they must not be refused meanwhile.
    with stores(OUTBOX_MAX_BACKLOG="0"):
        with cluster(), web() as url:
            figures = measure(url, seconds)
        with inline_web() as url:
            say("The same inline ...")
            closed(url, create, 1.0)
            inline = {
                **named("create", closed(url, create, seconds)),
                **named("steady_create", steady(url, create, seconds)),
            }
    ratios = {
        f"{kind}_ratio": round(inline[f"{kind}_p50_ms"] / figures[f"{kind}_p50_ms"], 1)
        for kind in ("create", "steady_create")
    }
    return {"semantix": figures | ratios, "inline": inline}


def measure(url: str, seconds: float) -> dict[str, float]:
    from benchmarks import costs

    def search() -> Request:
        return costs.search(next(costs.NUMBERS) % costs.TENANTS)

    costs.fill(costs.TENANTS, costs.A_TENANT)
    say("Warming up ...")
    for ask in (create, search_alike, search):
        closed(url, ask, 1.0)
    figures: dict[str, float] = {}
    for kind, ask in (
        ("create", create),
        ("get", get()),
        ("search", search),
        ("search_alike", search_alike),
    ):
        until_indexed()
        say(f"{kind} for {seconds:.0f} s ...")
        figures |= named(kind, closed(url, ask, seconds))
    say("create at a steady rate ...")
    figures |= named("steady_create", steady(url, create, seconds))
    say("batches ...")
    return figures | batches(url, seconds)


def batches(url: str, seconds: float) -> dict[str, float]:
    """The figures are those of one memory of a batch."""
    spent, per_s = closed(url, batch, seconds)
    return named("batch", ([each / A_BATCH for each in spent], per_s * A_BATCH))


def named(kind: str, found: tuple[list[float], float]) -> dict[str, float]:
    spent, per_s = found
    figures = {f"{kind}_{name}": value for name, value in percentiles(spent).items()}
    return figures | {f"{kind}_per_s": round(per_s, 1)}


def body() -> dict[str, object]:
    number = next(NUMBERS)
    raw_data = {
        "summary": f"Requests to service {number % 997} were cut off under load",
        "solution": f"The pool of {number} connections was too small: twice as many, and a timeout.",
        "tags": ["pool", "timeout"],
        "steps": [{"did": "measured", "seconds": number % 60}, {"did": "changed", "files": ["pool.py"]}],
    }
    task = f"Fix the timeout of service {number}"
    return {**TENANT, "task": task, "agent": "coder", "date": "2026-01-31", "raw_data": raw_data}


def create() -> Request:
    return "POST", "/memory-logs", json.dumps(body()).encode()


def batch() -> Request:
    return "POST", "/memory-logs/batch", json.dumps([body() for _ in range(A_BATCH)]).encode()


def search_alike() -> Request:
    asked = {**TENANT, "query": f"requests cut off, service {next(NUMBERS) % 997}"}
    return "POST", "/memory-logs/search", json.dumps(asked).encode()


def get() -> Ask:
    from memories.models import MemoryLog

    ids = list(MemoryLog.objects.order_by("-id").values_list("id", flat=True)[:500])
    return lambda: ("GET", f"/memory-logs/{ids[next(NUMBERS) % len(ids)]}", b"")


def closed(url: str, ask: Ask, seconds: float) -> tuple[list[float], float]:
    """The milliseconds of each request, and the answers a second, with connections that never pause."""
    end = time.perf_counter() + seconds

    def connection(_: int) -> Iterator[float]:
        with Connection(url) as connected:
            while time.perf_counter() < end:
                yield connected.timed(ask())

    return together(connection)


def reconnecting(url: str, ask: Ask, seconds: float) -> tuple[list[float], float]:
    """As `closed`, with a new connection for each request. Its time counts."""
    end = time.perf_counter() + seconds

    def connection(_: int) -> Iterator[float]:
        while time.perf_counter() < end:
            started = time.perf_counter()
            with Connection(url) as connected:
                connected.timed(ask())
            yield (time.perf_counter() - started) * 1000

    return together(connection)


def steady(url: str, ask: Ask, seconds: float) -> tuple[list[float], float]:
    """The same with connections that alternate, STEADY_PER_S requests a second together."""
    begin = time.perf_counter()

    def connection(place: int) -> Iterator[float]:
        with Connection(url) as connected:
            for turn in range(place, int(seconds * STEADY_PER_S), CONNECTIONS):
                time.sleep(max(0.0, begin + turn / STEADY_PER_S - time.perf_counter()))
                yield connected.timed(ask())

    return together(connection)


def together(connection: Callable[[int], Iterator[float]]) -> tuple[list[float], float]:
    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        spent = [
            each for found in pool.map(lambda n: list(connection(n)), range(CONNECTIONS)) for each in found
        ]
    return spent, len(spent) / (time.perf_counter() - started)


class Connection:
    """A kept connection with little overhead: client and service share the cores."""

    def __init__(self, url: str) -> None:
        host = urlsplit(url)
        self._host = host.netloc
        self._socket = socket.create_connection((host.hostname, host.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def timed(self, request: Request) -> float:
        """The milliseconds until the whole answer has come. Raises RuntimeError unless its status is 2xx."""
        return self.ask(request)[0]

    def ask(self, request: Request) -> tuple[float, bytes]:
        """The same, and the body of the answer."""
        method, path, content = request
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        sent = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        started = time.perf_counter()
        self._socket.sendall(sent)
        status, answer = self._answer()
        spent = (time.perf_counter() - started) * 1000
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        return spent, answer

    def _answer(self) -> tuple[int, bytes]:
        status, length = int(self._answers.readline().split()[1]), 0
        while (line := self._answers.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, self._answers.read(length)


@contextmanager
def inline_web() -> Iterator[str]:
    from semantix.allinone.web import command

    with served([*command("127.0.0.1", 0), "--app", "benchmarks.inline:application"]) as url:
        yield url


@contextmanager
def served(command: list[str], **environment: str) -> Iterator[str]:
    """Run a web server by its command, in which 0 stands for the port; yields its address."""
    from semantix.allinone.chroma import free_port

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    placed = [part.replace(":0", f":{port}") if part != "0" else str(port) for part in command]
    child = Child("Web server", placed, env=os.environ | environment, cwd=ROOT)
    try:
        child.wait_until(lambda: probe.answers(f"{url}/health/live"), timeout=60)
        yield url
    finally:
        child.stop(10)
