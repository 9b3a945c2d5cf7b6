"""A journal of the tasks that a relay created, which its successor reads after the relay was killed.

The relay appends a record before it hands a task out. The files have no name and live as long as a process of the
cluster has them open. A record that was written in part, because the relay was killed, does not count.
"""

import os
import struct
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple
from uuid import UUID

# Number, token of the claim, count of the events; the ids of the events follow.
HEADER = struct.Struct("<q16sq")
ID_BYTES = array("q").itemsize


class Record(NamedTuple):
    """A task: its number, and the events of a claim that it carries, in the order of their delivery."""

    number: int
    token: UUID
    ids: list[int]

    def encoded(self) -> bytes:
        return HEADER.pack(self.number, self.token.bytes, len(self.ids)) + array("q", self.ids).tobytes()


class Journal:
    """Two files, of which one is current. A rewrite fills the other one and then makes it current."""

    def __init__(self) -> None:
        self._files = [tempfile.TemporaryFile(buffering=0) for _ in range(2)]  # noqa: SIM115 - inherited by forks
        self._lengths = RawArray("q", 2)
        self._current = RawValue("i", 0)

    @property
    def length(self) -> int:
        """Bytes in use."""
        return int(self._lengths[self._current.value])

    def append(self, record: Record) -> None:
        self._append(self._current.value, record.encoded())

    def rewrite(self, records: Iterable[Record]) -> None:
        """Keep these records only."""
        other = 1 - self._current.value
        self._lengths[other] = 0
        self._append(other, b"".join(record.encoded() for record in records))
        self._current.value = other

    def read(self) -> Iterator[Record]:
        """All records, oldest first."""
        data = os.pread(self._files[self._current.value].fileno(), self.length, 0)
        offset = 0
        while offset < len(data):
            number, token, count = HEADER.unpack_from(data, offset)
            start = offset + HEADER.size
            offset = start + count * ID_BYTES
            ids = array("q")
            ids.frombytes(data[start:offset])
            yield Record(number, UUID(bytes=token), ids.tolist())

    def _append(self, file: int, data: bytes) -> None:
        os.pwrite(self._files[file].fileno(), data, self._lengths[file])
        # The record counts from here on.
        self._lengths[file] += len(data)

    def __del__(self) -> None:
        for file in self._files:
            file.close()
