"""Headers that travel with an event. A request binds them, and the delivery of its events binds them again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[Mapping[str, str]] = ContextVar("outbox_headers", default={})  # noqa: B039 - never mutated


def current() -> Mapping[str, str]:
    """The headers that are bound now."""
    return _current.get()


# These describe one event only: what the handler of a replayed event publishes is no replay.
NOT_INHERITED = frozenset({"replay_of"})


def merge(*headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a new event. Later mappings override earlier ones; NOT_INHERITED headers are left out."""
    return {name: value for each in headers for name, value in each.items() if name not in NOT_INHERITED}


@contextmanager
def bound(headers: Mapping[str, str]) -> Iterator[None]:
    """Add these headers (for example traceparent, request_id) to every event published inside the block."""
    token = _current.set({**_current.get(), **headers})
    try:
        yield
    finally:
        _current.reset(token)
