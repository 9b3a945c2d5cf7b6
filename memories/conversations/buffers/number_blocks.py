"""Lending blocks of numbers to Redis: the one thing of a turn in Redis that PostgreSQL has to know.

A block is one small transaction for BLOCK turns. It bounds what may have been given: whatever becomes of Redis,
PostgreSQL can number on after it, and no number is given twice.
"""

import json
from typing import NamedTuple
from uuid import uuid4

from django.db import transaction

from memories.conversations.buffers import failover, redis_client
from memories.conversations.gaps import note_loss
from memories.conversations.turns import Post
from memories.models.conversation import Conversation, TurnKey

BLOCK = 100


class Lent(NamedTuple):
    """What Redis has: it numbers up to `limit`, and up to `offered` once it is told that this loan is committed."""

    last: int
    limit: int
    offered: int
    generation: int
    loan: str


def lend(post: Post, key: str) -> str:
    """The name of a loan with room for these turns, committed; append says it. Raises FailedOver, RedisAway.

    Redis hears of the block before the commit and uses it after: a crash between the two lends nothing, and who
    waited for the row's lock finds what the one before has done.
    """
    name = {**post.tenant._asdict(), "conversation_id": post.conversation_id}
    with transaction.atomic():
        row, _ = Conversation.objects.select_for_update(no_key=True).get_or_create(**name)
        return _lend(row, post, key)


def _lend(row: Conversation, post: Post, key: str) -> str:
    generation, lent = failover.generation(), _look(key)
    ours = lent is not None and (lent.generation, lent.offered) == (generation, row.given_through)
    if lent and ours and lent.last + len(post.turns) <= lent.offered and row.in_redis:
        return lent.loan
    if row.in_redis and lent is None:
        note_loss(row, "Redis did not know the conversation when its next turn came", row.seen_in_redis)
    # Numbers go on where Redis stands, if nobody else can have given any since.
    base = lent.last if lent and ours else row.given_through
    row.given_through = base + max(BLOCK, len(post.turns))
    row.in_redis, row.generation, row.closed_at = True, generation, None
    row.save(update_fields=["given_through", "in_redis", "generation", "closed_at", "seen_in_redis"])
    return _offer(key, generation, base, row)


def _look(key: str) -> Lent | None:
    with redis_client.translated_errors():
        found = redis_client.get_client().hmget(key, *Lent._fields)
    if None in found:
        return None
    last, limit, offered, generation, loan = map(str, found)
    return Lent(int(last), int(limit), int(offered), int(generation), loan)


def _offer(key: str, generation: int, base: int, row: Conversation) -> str:
    loan = uuid4().hex
    arguments: list[str | int] = [generation, base, row.given_through, loan, redis_client.keep_ms()]
    for known in TurnKey.objects.filter(conversation=row):
        stands_for = {"hash": known.body_hash, "first": known.first_turn, "count": known.count}
        arguments += [known.key, json.dumps(stands_for)]
    redis_client.run("open", [key], arguments)
    return loan
