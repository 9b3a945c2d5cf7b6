"""Reads inserted rows from the binary messages of `pgoutput`, the logical replication of Postgres.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple

# Begin and commit stand between the rows.
TRANSACTIONS = b"BC"


class Inserted(NamedTuple):
    table: str
    row: dict[str, str | None]


def inserts(messages: Iterable[bytes]) -> Iterator[Inserted]:
    """The inserted rows in their order. Raises ValueError for an update, a delete or a truncation."""
    relations: dict[int, tuple[str, list[str]]] = {}
    for message in messages:
        kind, body = message[:1], BytesIO(message[1:])
        if kind == b"R":
            relation, table, columns = _relation(body)
            relations[relation] = (table, columns)
        elif kind == b"I":
            table, columns = relations[_int(body, 4)]
            assert body.read(1) == b"N"
            yield Inserted(table, dict(zip(columns, _tuple(body), strict=True)))
        elif kind not in TRANSACTIONS:
            raise ValueError(f"A message of kind {kind!r}")


def _relation(body: BytesIO) -> tuple[int, str, list[str]]:
    relation = _int(body, 4)
    table = f"{_text(body)}.{_text(body)}"
    body.read(1)  # replica identity
    columns = []
    for _ in range(_int(body, 2)):
        body.read(1)  # part of the key
        columns.append(_text(body))
        body.read(8)  # type and its modifier
    return relation, table, columns


def _tuple(body: BytesIO) -> Iterator[str | None]:
    for _ in range(_int(body, 2)):
        kind = body.read(1)
        assert kind in b"nt", kind
        yield body.read(_int(body, 4)).decode() if kind == b"t" else None


def _int(body: BytesIO, size: int) -> int:
    return int.from_bytes(body.read(size), "big", signed=True)


def _text(body: BytesIO) -> str:
    return b"".join(iter(lambda: body.read(1), b"\0")).decode()
