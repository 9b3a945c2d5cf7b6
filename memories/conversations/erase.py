"""Remove conversations from the buffers and from PostgreSQL."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from django.db import transaction

import outbox
from memories.conversations.buffers import redis_client
from memories.conversations.buffers.redis import key_of
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.transcript import memory_ids
from memories.models.conversation import BufferedTurn, Conversation
from memories.records import services

logger = logging.getLogger(__name__)

# Memories deleted by one statement.
MEMORIES = 500


class Removed(NamedTuple):
    """How many turns waited in PostgreSQL, and how many of the conversations were in Redis."""

    turns: int
    in_redis: int


def delete(conversation: Conversation) -> None:
    """Delete a conversation: its waiting turns in both buffers, its saved memories with their events, keys and gaps.

    Raises Conversation.DoesNotExist if it was deleted meanwhile, and RedisAway if Redis holds turns of it and does not
    answer. Then nothing is deleted, except perhaps the turns in Redis.
    """
    with transaction.atomic():
        row = Conversation.objects.select_for_update().get(id=conversation.id)
        ids = memory_ids(row)
        for start in range(0, len(ids), MEMORIES):
            services.delete_memories(ids[start : start + MEMORIES], priority=outbox.INTERACTIVE)
        try:
            erase([row])
        except RedisAway as away:
            if row.in_redis:
                raise
            # Redis holds no turn of it. What it may hold (keys of saved turns) expires, and a new conversation of the
            # same name does not take it over.
            logger.info("Deleting conversation #%s without Redis: %s", row.id, away)
            _erase_in_postgres([row])


def erase(rows: Sequence[Conversation]) -> Removed:
    """Remove the conversations with their waiting turns, keys and gaps. The caller has locked the rows.

    Their saved memories stay: the caller deletes them. Redis goes first: once the row is deleted, nothing names the
    conversation there. A turn that comes meanwhile waits for the row's lock and then begins a new conversation. Raises
    RedisAway if Redis may hold turns.
    """
    in_redis = _erase_in_redis(rows)
    return Removed(_erase_in_postgres(rows), in_redis)


def _erase_in_postgres(rows: Sequence[Conversation]) -> int:
    turns = BufferedTurn.objects.filter(conversation__in=rows).count()
    Conversation.objects.filter(id__in=[row.id for row in rows]).delete()
    return turns


def _erase_in_redis(rows: Sequence[Conversation]) -> int:
    if not redis_client.is_configured():
        if any(row.in_redis for row in rows):
            raise RedisAway("CONVERSATION_REDIS_URL is not set, and turns wait in Redis")
        return 0
    with redis_client.translated_errors():
        keys = [key_of(row.tenant, row.conversation_id) for row in rows]
        return int(redis_client.get_client().delete(*keys))
