"""Writes of many rows, of which one that PostgreSQL refuses does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from django.db import DatabaseError

from outbox.database.errors import refuses_data

Item = TypeVar("Item")
Result = TypeVar("Result")


class Written(NamedTuple, Generic[Result]):
    """What a write of some items returned."""

    result: Result


class Refused(NamedTuple, Generic[Item]):
    """An item that PostgreSQL refuses, and its error."""

    item: Item
    error: DatabaseError


def write_in_halves(
    write: Callable[[Sequence[Item]], Result], items: Sequence[Item]
) -> Iterator[Written[Result] | Refused[Item]]:
    """Write the items together; if PostgreSQL refuses them, in halves, until the item at fault is found.

    `write` is a transaction, or has a savepoint of its own. Raises DatabaseError if PostgreSQL is away.
    """
    try:
        written = write(items)
    except DatabaseError as error:
        if not refuses_data(error):
            raise
        if len(items) == 1:
            yield Refused(items[0], error)
            return
    else:
        yield Written(written)
        return
    half = len(items) // 2
    yield from write_in_halves(write, items[:half])
    yield from write_in_halves(write, items[half:])
