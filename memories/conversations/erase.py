"""Removing conversations from the buffers and from PostgreSQL. Their saved memories are the caller's to delete."""

from collections.abc import Sequence
from typing import NamedTuple

from memories.conversations.buffers import redis_client
from memories.conversations.buffers.redis import key_of
from memories.models.conversation import BufferedTurn, Conversation


class Removed(NamedTuple):
    """How many turns waited in PostgreSQL, and how many of the conversations were in Redis."""

    turns: int
    in_redis: int


def erase(rows: Sequence[Conversation]) -> Removed:
    """Remove the conversations, whose rows the caller has locked, with the turns that wait, their keys and gaps.

    Redis goes first: once the row is deleted, nothing names the conversation there. A turn that comes meanwhile waits
    for the row's lock and then begins a new conversation. Raises RedisAway where Redis may hold turns.
    """
    in_redis = _erase_in_redis(rows)
    turns = BufferedTurn.objects.filter(conversation__in=rows).count()
    Conversation.objects.filter(id__in=[row.id for row in rows]).delete()
    return Removed(turns, in_redis)


def _erase_in_redis(rows: Sequence[Conversation]) -> int:
    if not redis_client.is_configured():
        if any(row.in_redis for row in rows):
            raise redis_client.RedisAway("CONVERSATION_REDIS_URL is not set, and turns wait there")
        return 0
    with redis_client.translated_errors():
        keys = [key_of(row.tenant, row.conversation_id) for row in rows]
        return int(redis_client.get_client().delete(*keys))
