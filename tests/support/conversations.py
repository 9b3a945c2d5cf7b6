"""Conversations for tests: posts, transcripts, and the memories that hold saved turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any

from django.db import connection

from memories.conversations import append, flush
from memories.conversations import transcript as reading
from memories.conversations.turns import Post
from memories.models import MemoryLog
from memories.models.conversation import Conversation
from memories.tenants import Tenant
from tests.support.tenants import new_tenant

_names = count(1)

REFUSE = """
CREATE FUNCTION refuse_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no room for memory logs of %', NEW.task; END $$;
CREATE TRIGGER refuse_memory BEFORE INSERT ON memory_logs FOR EACH ROW
WHEN (NEW.task = 'Conversation {name}') EXECUTE FUNCTION refuse_memory();
"""
ALLOW = "DROP TRIGGER IF EXISTS refuse_memory ON memory_logs; DROP FUNCTION IF EXISTS refuse_memory()"


class Chat:
    """One conversation, as its participants see it."""

    def __init__(self, tenant: Tenant | None = None, name: str = "") -> None:
        self.tenant = tenant or new_tenant()
        self.name = name or f"chat-{next(_names)}"

    def post(self, *contents: str, key: str | None = None) -> Post:
        turns = tuple({"role": "user", "content": content} for content in contents)
        return Post(tenant=self.tenant, conversation_id=self.name, turns=turns, key=key)

    def say(self, *contents: str, key: str | None = None) -> append.Appended:
        return append.append(self.post(*contents, key=key))

    @property
    def row(self) -> Conversation:
        return Conversation.objects.get(**self.tenant._asdict(), conversation_id=self.name)

    @property
    def transcript(self) -> reading.Transcript:
        """All turns."""
        return reading.transcript(self.row, reading.Limit(turns=10_000, bytes=10**9))

    @property
    def contents(self) -> list[str]:
        return [turn["content"] for turn in self.transcript.turns]

    @property
    def memories(self) -> list[MemoryLog]:
        return list(MemoryLog.objects.filter(**self.tenant._asdict()).order_by("id"))

    @property
    def saved(self) -> list[str]:
        """The contents of the turns in the memories, with repetitions."""
        return [turn["content"] for memory in self.memories for turn in turns_of(memory)]


def turns_of(memory: MemoryLog) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = memory.raw_data["turns"]
    return turns


def flush_all() -> flush.Outcome:
    return flush.flush(idle=timedelta())


@contextmanager
def refused_by_postgres(chat: Chat) -> Iterator[None]:
    """PostgreSQL refuses the memory of this conversation."""
    with connection.cursor() as cursor:
        cursor.execute(REFUSE.format(name=chat.name))
        try:
            yield
        finally:
            cursor.execute(ALLOW)
