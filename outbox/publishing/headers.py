"""Headers that travel with an event: bound around a request, bound again around its delivery."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[Mapping[str, str]] = ContextVar("outbox_headers", default={})  # noqa: B039 - never mutated


def current() -> Mapping[str, str]:
    return _current.get()


# Said of one event: what its handler publishes is no replay.
OWN = frozenset({"replay_of"})


def joined(*headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a new event: of those given, later ones win; what was said of another event stays behind."""
    return {name: value for given in headers for name, value in given.items() if name not in OWN}


@contextmanager
def bound(headers: Mapping[str, str]) -> Iterator[None]:
    """Events published inside carry these headers (e.g. traceparent, request_id)."""
    token = _current.set({**_current.get(), **headers})
    try:
        yield
    finally:
        _current.reset(token)
