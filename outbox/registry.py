"""Which event types there are, and the one function that handles each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from outbox.events import ClaimedEvent
from outbox.exceptions import UnknownEventType

HandlerFunction = TypeVar("HandlerFunction", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handler:
    type: str
    function: Callable[..., Any]
    # Dependencies whose open circuit pauses this type.
    needs: frozenset[str]
    # The function takes a sequence of events instead of one.
    batch: bool

    def __call__(self, events: Sequence[ClaimedEvent]) -> None:
        if self.batch:
            self.function(events)
        else:
            for event in events:
                self.function(event)


_handlers: dict[str, Handler] = {}
_declared: set[str] = set()


def handler(
    *types: str, needs: Sequence[str] = (), batch: bool = False
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Register the decorated function as the handler of these event types.

    It is called with a `ClaimedEvent`, or with `batch=True` with a list of them (each of another aggregate).
    It must converge: an event may arrive more than once. Raises ValueError when a type has a handler already.
    """

    def register(function: HandlerFunction) -> HandlerFunction:
        for type in types:
            if type in _handlers and _handlers[type].function is not function:
                raise ValueError(f"{type} has a handler already: {_handlers[type].function.__qualname__}")
            _handlers[type] = Handler(type, function, frozenset(needs), batch)
        return function

    return register


def declare(*types: str) -> None:
    """Name event types that are recorded for others to read and handled by nobody here."""
    _declared.update(types)


def put(type: str, handler: Handler | None) -> Handler | None:
    """Make this the type's handler (None: nobody's), whoever had it; returns who had. For `outbox.testing`."""
    before = _handlers.pop(type, None)
    if handler:
        _handlers[type] = handler
    return before


def handler_of(type: str) -> Handler | None:
    return _handlers.get(type)


def known_types() -> list[str]:
    """Handled or declared."""
    return sorted({*_handlers, *_declared})


def handled_types() -> list[str]:
    return sorted(_handlers)


def is_handled(type: str) -> bool:
    """Whether events of the type are delivered (True) or only recorded (False).

    Raises UnknownEventType for a type nobody registered or declared.
    """
    if type in _handlers:
        return True
    if type in _declared:
        return False
    known = ", ".join(sorted({*_handlers, *_declared})) or "none"
    raise UnknownEventType(
        f"Nobody handles or declared the event type {type!r}. Register a handler with @outbox.handler({type!r}) "
        f"in the handlers.py of an installed app, or outbox.declare({type!r}). Known types: {known}."
    )


def dependencies() -> list[str]:
    """What the handlers say that they need."""
    return sorted({dependency for handler in _handlers.values() for dependency in handler.needs})


def types_needing(dependency: str) -> list[str]:
    return sorted(type for type, handler in _handlers.items() if dependency in handler.needs)
