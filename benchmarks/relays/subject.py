"""What the measurement asks of each subject."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from semantix.allinone.process import Child

ROOT = Path(__file__).resolve().parent.parent.parent


class Subject(Protocol):
    """One queue over one database. Two worker processes each, like the machine's cores."""

    def prepare(self) -> None:
        """Make its tables."""

    def publish(self, number: int) -> None:
        """Commit one event."""

    def publish_many(self, numbers: Sequence[int]) -> None:
        """Commit a backlog, in whichever way is quickest."""

    def unfinished(self) -> int:
        """How many events are not settled."""

    def workers(self) -> list[Child]:
        """Start them."""


def start(*arguments: str, module: bool = True) -> Child:
    """A process of Python's, from the project's folder."""
    return Child(
        "Worker", [sys.executable, *(["-m"] if module else []), *arguments], env=dict(os.environ), cwd=ROOT
    )
