"""Export: memories and conversations of a user as JSON lines, in pages that can be resumed.

A line of a memory is what GET /memory-logs/{id} answers, so `load_memories` takes it. A line of a conversation has its
turns under the key `conversation`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

import orjson
from rest_framework.utils.encoders import JSONEncoder

from memories.api.serializers.memory_output import serialize, serialize_version
from memories.auth.access import Access
from memories.conversations.transcript import Limit, transcript
from memories.models import Conversation, MemoryLog
from memories.records import queries

# A page ends after so many rows, or with the row that takes it over so many bytes.
PAGE_ROWS = 500
PAGE_BYTES = 4 * 2**20

# A conversation is one line.
EVERYTHING = Limit(turns=2**31, bytes=2**63)

MEMORIES, CONVERSATIONS = "memories", "conversations"


class Cursor(NamedTuple):
    """Where the next page starts: the kind of row, and the id of the last row before it."""

    kind: str = MEMORIES
    after: int = 0

    def __str__(self) -> str:
        return f"{self.kind}-{self.after}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError for text that is no cursor."""
        kind, _, after = text.partition("-")
        if kind not in (MEMORIES, CONVERSATIONS) or not (after.isascii() and after.isdecimal()):
            raise ValueError(f"{text!r} is no cursor of an export")
        return cls(kind, min(int(after), 2**63 - 1))


@dataclass(frozen=True, kw_only=True)
class Export:
    """What to export: everything that `access` covers, with what is asked for besides the memories."""

    access: Access
    versions: bool = False
    embeddings: bool = False
    conversations: bool = False

    def page(self, cursor: Cursor) -> tuple[list[bytes], Cursor | None]:
        """The next lines, without line ends, and the cursor of the page after them; None after the last page."""
        if cursor.kind == MEMORIES:
            lines, last = _cut(self._memories(cursor.after))
            if last is not None:
                return lines, Cursor(MEMORIES, last)
            return lines, Cursor(CONVERSATIONS) if self.conversations else None
        lines, last = _cut(self._conversations(cursor.after))
        return lines, None if last is None else Cursor(CONVERSATIONS, last)

    def _memories(self, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = self.access.visible(queries.memories(embedding=self.embeddings))
        for row in rows.filter(id__gt=after).order_by("id")[:PAGE_ROWS].iterator():
            yield row.id, self._memory(row)

    def _memory(self, row: MemoryLog) -> dict[str, Any]:
        line = serialize(row, embedding=self.embeddings)
        if self.embeddings:
            line["embedding_model"] = row.embedding_model
        if self.versions:
            line["versions"] = [serialize_version(state) for state in queries.versions(row.id)]
        return line

    def _conversations(self, after: int) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = self.access.visible(Conversation.objects.filter(id__gt=after))
        for row in rows.order_by("id")[:PAGE_ROWS].iterator():
            yield row.id, {"conversation": _conversation(row)}


def _conversation(row: Conversation) -> dict[str, Any]:
    """A conversation with all turns; `complete` is false if Redis may hold more turns and does not answer."""
    whole = transcript(row, EVERYTHING)
    return {
        "conversation_id": row.conversation_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "created_at": row.created_at,
        "complete": whole.complete,
        "turns": list(whole.turns),
    }


def _json(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)
    except TypeError:  # orjson writes no integer above 64 bits
        return json.dumps(row, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()


def _cut(rows: Iterator[tuple[int, dict[str, Any]]]) -> tuple[list[bytes], int | None]:
    """The lines of a page, and the id of its last row; None when no row is left after it."""
    lines: list[bytes] = []
    last, size = 0, 0

    def has_room(_row: object) -> bool:
        return size < PAGE_BYTES

    for id, row in takewhile(has_room, rows):
        last = id
        lines.append(_json(row))
        size += len(lines[-1])
    is_full = len(lines) == PAGE_ROWS or size >= PAGE_BYTES
    return lines, last if is_full else None
