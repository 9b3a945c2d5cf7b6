"""The known event types, and the handler of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from outbox.events import ClaimedEvent
from outbox.exceptions import UnknownEventType

HandlerFunction = TypeVar("HandlerFunction", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handler:
    """The function that handles an event type. It is called with all events of a unit."""

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

    `needs` names dependencies: while a dependency's circuit is open, these types are not claimed.
    The function is called with a `ClaimedEvent`. With `batch=True` it is called with a list of them, each of
    another aggregate. It must converge, since an event may arrive more than once.

    Raises ValueError if a type already has another handler.
    """

    def register(function: HandlerFunction) -> HandlerFunction:
        for type in types:
            if type in _handlers and _handlers[type].function is not function:
                raise ValueError(f"{type} already has a handler: {_handlers[type].function.__qualname__}")
            _handlers[type] = Handler(type, function, frozenset(needs), batch)
        return function

    return register


def declare(*types: str) -> None:
    """Declare event types that are recorded for readers of the stream and have no handler here."""
    _declared.update(types)


def put(type: str, handler: Handler | None) -> Handler | None:
    """Replace the type's handler (None: remove it) and return the former one. For `outbox.testing`."""
    before = _handlers.pop(type, None)
    if handler:
        _handlers[type] = handler
    return before


def handler_of(type: str) -> Handler | None:
    return _handlers.get(type)


def known_types() -> list[str]:
    """The types that have a handler or are declared."""
    return sorted({*_handlers, *_declared})


def handled_types() -> list[str]:
    return sorted(_handlers)


def is_handled(type: str) -> bool:
    """Whether events of the type are delivered (True) or only recorded (False).

    Raises UnknownEventType if the type has neither a handler nor a declaration.
    """
    if type in _handlers:
        return True
    if type in _declared:
        return False
    known = ", ".join(sorted({*_handlers, *_declared})) or "none"
    raise UnknownEventType(
        f"The event type {type!r} has no handler and is not declared. Register a handler with "
        f"@outbox.handler({type!r}) in the handlers.py of an installed app, or call outbox.declare({type!r}). "
        f"Known types: {known}."
    )


def dependencies() -> list[str]:
    """The dependencies that the handlers name in `needs`."""
    return sorted({dependency for handler in _handlers.values() for dependency in handler.needs})


def types_needing(dependency: str) -> list[str]:
    return sorted(type for type, handler in _handlers.items() if dependency in handler.needs)
