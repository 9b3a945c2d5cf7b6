"""Long work that events carry on step by step: the apps whose work it is say how far it has come.

@outbox.progress("index")
def index_progress() -> Progress | None: ...     # None when there is nothing under way
"""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    done: int
    total: int
    # What is done and counted, for a person.
    description: str


Look = Callable[[], Progress | None]

_looks: dict[str, Look] = {}


def progress(name: str) -> Callable[[Look], Look]:
    """Show the decorated function's answer in `outbox_status`, under this name."""

    def register(look: Look) -> Look:
        _looks[name] = look
        return look

    return register


def under_way() -> dict[str, Progress]:
    """What is under way now, by name."""
    found = {name: look() for name, look in sorted(_looks.items())}
    return {name: answer for name, answer in found.items() if answer is not None}
