"""Processor time of the service's parts, read from the clocks that the kernel keeps for each process."""

import os
import time
from collections.abc import Mapping
from typing import Self

import psutil


class Processor:
    """Seconds of processor time by part. A part is a process with everything that it started, ended children included.

    The connection of this measurement is a process of PostgreSQL; it does not count.
    """

    def __init__(self, parts: Mapping[str, psutil.Process]) -> None:
        self.parts = parts

    @classmethod
    def of_service(cls, *, web: int, cluster: int, chroma_url: str) -> Self:
        """The parts of a running service, by the pids of its children and the address of its Chroma."""
        return cls(
            {
                "web": psutil.Process(web),
                "postgres": postgres(),
                "cluster": psutil.Process(cluster),
                "chroma": listening_on(chroma_url),
                "client": psutil.Process(os.getpid()),
            }
        )

    def read(self) -> dict[str, float]:
        """The seconds so far."""
        ours = _own_backend()
        # The services are children of this process, and do not count as part of the client.
        return {
            name: _own_seconds(process) if process.pid == os.getpid() else _tree_seconds(process, ours)
            for name, process in self.parts.items()
        }

    def idle(self, seconds: float) -> dict[str, float]:
        """The share of a core that each part takes while nothing is asked of the service."""
        before = self.read()
        time.sleep(seconds)
        return {name: (spent - before[name]) / seconds for name, spent in self.read().items()}


def percent(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """The share of a core that each part took, in percent."""
    return {f"{name}_cpu_percent": round(100 * (after[name] - before[name]) / seconds, 1) for name in before}


def postgres() -> psutil.Process:
    """The server of this process's connection."""
    server = psutil.Process(_own_backend()).parent()
    assert server is not None
    return server


def listening_on(url: str) -> psutil.Process:
    """The process of this machine that listens on the port of the URL. Raises LookupError."""
    port = int(url.rpartition(":")[2])
    for process in psutil.process_iter():
        try:
            listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
        if any(connection.laddr.port == port for connection in listening):
            return process
    raise LookupError(f"No process of this machine listens on {url}.")


def _own_backend() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _tree_seconds(process: psutil.Process, ours: int) -> float:
    if process.pid == ours:
        return 0.0
    try:
        times = process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return own + sum(_tree_seconds(child, ours) for child in process.children())
    except psutil.NoSuchProcess:
        return 0.0


def _own_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
