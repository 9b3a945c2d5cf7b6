"""The events of a task, divided into the calls of their handlers."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeVar

from outbox.events import ClaimedEvent, ClaimedRow
from outbox.registry import handler_of

Item = TypeVar("Item", ClaimedEvent, ClaimedRow)


class Unit(NamedTuple):
    """The events of one call of a handler: all events of its type if it takes batches, else one.

    `start`: the place of the first of them in the task.
    """

    start: int
    events: list[ClaimedEvent]

    @property
    def type(self) -> str:
        return self.events[0].type

    @property
    def size(self) -> int:
        return len(self.events)

    @property
    def ids(self) -> list[int]:
        return [event.id for event in self.events]

    def halves(self) -> list["Unit"]:
        """The unit in two parts, in order."""
        return list(self.parts((self.size + 1) // 2))

    def parts(self, size: int) -> Iterator["Unit"]:
        """The unit in parts of at most `size` events, in order."""
        for offset in range(0, self.size, size):
            yield Unit(self.start + offset, self.events[offset : offset + size])


def ordered(events: Sequence[Item]) -> list[Item]:
    """The events in the order of their delivery: type by type, so that each unit is a slice of the task."""
    places = {type: place for place, type in enumerate(dict.fromkeys(event.type for event in events))}
    return sorted(events, key=lambda event: places[event.type])


def units(events: Sequence[ClaimedEvent]) -> Iterator[Unit]:
    """The units of a task's events, in the order of their delivery."""
    start = 0
    for type, group in groupby(ordered(events), key=attrgetter("type")):
        unit = Unit(start, list(group))
        start += unit.size
        handler = handler_of(type)
        yield from [unit] if handler is not None and handler.batch else unit.parts(1)
