"""The interface of a subject of the measurement."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from semantix.allinone.process import Child

ROOT = Path(__file__).resolve().parent.parent.parent


class Subject(Protocol):
    """One queue on one database, with two worker processes: one for each core of the machine."""

    def prepare(self) -> None:
        """Create its tables."""

    def publish(self, number: int) -> None:
        """Commit one event."""

    def publish_many(self, numbers: Sequence[int]) -> None:
        """Commit a backlog in the fastest way."""

    def unfinished(self) -> int:
        """Return how many events are not settled."""

    def worker(self) -> Child:
        """Start one program of it."""

    def workers(self) -> list[Child]:
        """Start the worker processes."""


def start(*arguments: str, module: bool = True) -> Child:
    """Start a Python process in the project's folder."""
    return Child(
        "Worker", [sys.executable, *(["-m"] if module else []), *arguments], env=dict(os.environ), cwd=ROOT
    )
