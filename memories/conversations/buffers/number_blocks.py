"""Blocks of numbers for Redis: the one thing about a turn in Redis that PostgreSQL has to know.

A block costs one small transaction for BLOCK turns. It is the upper bound of the numbers in use: whatever happens to
Redis, PostgreSQL numbers later turns after the block, and no number is used twice.
"""

import json
from typing import NamedTuple
from uuid import uuid4

from django.db import transaction

from memories.conversations.buffers import failover, redis_client
from memories.conversations.gaps import record_gap
from memories.conversations.turns import Post
from memories.models.conversation import Conversation, TurnKey

BLOCK = 100


class BlockState(NamedTuple):
    """What Redis knows: it uses numbers up to `limit`, and up to `offered` once PostgreSQL committed that block."""

    last: int
    limit: int
    offered: int
    generation: int
    block_id: str
    conversation: int


def grant(post: Post, key: str) -> str:
    """Reserve a block with room for these turns, and return its id. Raises FailedOver, RedisAway.

    Redis hears of the block before the commit and uses it only afterwards, when an append names the id: a crash
    between the two grants nothing. A writer that waited for the row's lock finds the block of the writer before it.
    """
    name = {**post.tenant._asdict(), "conversation_id": post.conversation_id}
    with transaction.atomic():
        row, _ = Conversation.objects.select_for_update(no_key=True).get_or_create(**name)
        return _grant(row, post, key)


def _grant(row: Conversation, post: Post, key: str) -> str:
    generation, state = failover.generation(), _state(key, row)
    is_current = state is not None and (state.generation, state.offered) == (generation, row.reserved_through)
    if state and is_current and state.last + len(post.turns) <= state.offered and row.in_redis:
        return state.block_id
    if row.in_redis and state is None:
        record_gap(row, "Redis did not know the conversation when its next turn came", row.seen_in_redis)
    # The numbers continue after the last turn in Redis, unless PostgreSQL may have used later numbers.
    base = state.last if state and is_current else row.reserved_through
    row.reserved_through = base + max(BLOCK, len(post.turns))
    row.in_redis, row.generation, row.closed_at = True, generation, None
    row.save(update_fields=["reserved_through", "in_redis", "generation", "closed_at", "seen_in_redis"])
    return _offer(key, generation, base, row)


def _state(key: str, row: Conversation) -> BlockState | None:
    """What Redis knows of this conversation; None also for an older one of this name, which was deleted."""
    with redis_client.translated_errors():
        fields = redis_client.get_client().hmget(key, *BlockState._fields)
    if None in fields:
        return None
    last, limit, offered, generation, block_id, conversation = map(str, fields)
    state = BlockState(int(last), int(limit), int(offered), int(generation), block_id, int(conversation))
    return state if state.conversation == row.id else None


def _offer(key: str, generation: int, base: int, row: Conversation) -> str:
    block_id = uuid4().hex
    arguments: list[str | int] = [generation, base, row.reserved_through, block_id, redis_client.keep_ms()]
    arguments.append(row.id)
    for known in TurnKey.objects.filter(conversation=row):
        turns = {"hash": known.body_hash, "first": known.first_turn, "count": known.count}
        arguments += [known.key, json.dumps(turns)]
    redis_client.run("offer_block", [key], arguments)
    return block_id
