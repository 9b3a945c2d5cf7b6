"""The buffer in Redis: no transaction a turn. A conversation is one hash, so that Redis loses all of it or nothing.

What it can lose: what Redis loses. Without persistence all that waits when it stops; with `appendonly yes` the last
second; a conversation whose memory it needs when it evicts; one that nobody saved within CONVERSATION_TTL_MINUTES.
A loss is noticed, because PostgreSQL knows which conversations Redis has to know, and recorded as a gap.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from memories.conversations.buffers import failover, number_blocks, redis_client
from memories.conversations.buffers.protocol import Activity, Held
from memories.conversations.turns import Post, Receipt, SavedKey
from memories.models.conversation import Conversation

KEY = "semantix:conversation:"

# Where no block was lent since we looked. What is left of the block is taken back: numbers go on without a hole.
RELEASE = """
UPDATE conversations c
SET in_redis = false, seen_in_redis = 0, doubted = '{}',
    given_through = CASE WHEN g.block_end = c.given_through THEN g.last ELSE c.given_through END
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS g (id, given_through, last, block_end)
WHERE c.id = g.id AND c.given_through = g.given_through
"""
# Where nothing was saved since we looked.
NOTE_SEEN = """
UPDATE conversations c SET seen_in_redis = g.seen
FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS g (id, saved_through, seen)
WHERE c.id = g.id AND c.redis_saved_through = g.saved_through AND c.in_redis AND c.seen_in_redis <> g.seen
"""


class RedisBuffer:
    name = "redis"

    def append(self, post: Post) -> Receipt:
        """Take the turns in. Raises KeyReused, switch.FailedOver, RedisAway (then they may be in, or not)."""
        arguments = [post.key or "", post.body_hash if post.key else ""]
        arguments += [json.dumps([post.id, turn], ensure_ascii=False) for turn in post.stamped]
        keys = [failover.LEASE, key_of(post.tenant, post.conversation_id)]
        loan = ""
        for _ in range(10):  # each round something was missing that the next one has
            outcome, *found = redis_client.run("append", keys, [redis_client.keep_ms(), loan, *arguments])
            match outcome:
                case "taken":
                    return Receipt(int(found[0]), len(post.turns))
                case "known":
                    return post.check(_saved_key(post.key or "", found[0]))
                case "lease":
                    failover.renew(int(found[0]))
                case "open":
                    loan = number_blocks.lend(post, keys[1])
        raise redis_client.RedisAway("other writers use up every block before it can be used")

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        """Raises RedisAway."""
        rows = [row for row in rows if row.in_redis]
        with redis_client.translated_errors():
            pipeline = redis_client.get_client().pipeline(transaction=False)
            for row in rows:
                pipeline.hmget(key_of(row.tenant, row.conversation_id), "waiting", "at")
                pipeline.pttl(key_of(row.tenant, row.conversation_id))
            answers = pipeline.execute()
        return {
            row.id: _activity(had, left)
            for row, had, left in zip(rows, answers[::2], answers[1::2], strict=True)
        }

    def left(self, activity: Mapping[Conversation, Activity]) -> None:
        """Note how many were seen: so many are missing, at least, should Redis lose the conversation."""
        seen = [(row.id, row.redis_saved_through, its.turns) for row, its in activity.items()]
        if seen:
            with connection.cursor() as cursor:
                cursor.execute(NOTE_SEEN, [list(column) for column in zip(*seen, strict=True)])

    def held(self, rows: Iterable[Conversation]) -> Mapping[int, Held]:
        """Raises RedisAway."""
        rows = [row for row in rows if row.in_redis]
        with redis_client.translated_errors():
            pipeline = redis_client.get_client().pipeline(transaction=False)
            for row in rows:
                pipeline.hgetall(key_of(row.tenant, row.conversation_id))
            answers = pipeline.execute()
        return {row.id: _held(row, fields) for row, fields in zip(rows, answers, strict=True)}

    def saving(self, held: Mapping[Conversation, Held]) -> None:
        """Note on the rows up to where turns are saved: a crash before they leave Redis saves none twice."""
        for row, its in held.items():
            row.in_redis = row.in_redis and not its.gone
            row.seen_in_redis = 0
            row.redis_saved_through = max([row.redis_saved_through, *(turn["seq"] for turn in its.turns)])

    def saved(self, held: Mapping[Conversation, Held]) -> None:
        """Raises RedisAway: then the next flush trims what is saved."""
        rows = [row for row in held if row.in_redis]
        if not rows:
            return
        empty = [
            (row, answer) for row, answer in zip(rows, _trim(rows), strict=True) if answer and not answer[0]
        ]
        released = [(row.id, row.given_through, last, block_end) for row, (_, last, block_end) in empty]
        if released:
            with connection.cursor() as cursor:
                cursor.execute(RELEASE, [list(column) for column in zip(*released, strict=True)])


class AbandonedRedis(RedisBuffer):
    """For a Redis that will not come back: what it held is lost, and is recorded so."""

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        return {row.id: Activity(0, None) for row in rows if row.in_redis}

    def held(self, rows: Iterable[Conversation]) -> Mapping[int, Held]:
        return {row.id: Held(gone=True, missing=row.seen_in_redis) for row in rows if row.in_redis}


def key_of(tenant: Sequence[str], conversation_id: str) -> str:
    # The lengths keep ("ab", "c") and ("a", "bc") apart.
    told_apart = "".join(f"{len(part)}:{part}" for part in (*tenant, conversation_id))
    return KEY + hashlib.sha256(told_apart.encode()).hexdigest()[:40]


def _trim(rows: Sequence[Conversation]) -> list[Any]:
    with redis_client.translated_errors():
        pipeline = redis_client.get_client().pipeline(transaction=False)
        for row in rows:
            key = key_of(row.tenant, row.conversation_id)
            redis_client.add(pipeline, "trim", [key], [row.redis_saved_through])
        return list(pipeline.execute())


def _activity(had: Sequence[str | None], left_ms: int) -> Activity:
    waiting, at = had
    last = datetime.fromtimestamp(int(at) / 1000, UTC) if at else None
    return Activity(int(waiting or 0), last, datetime.now(UTC) + timedelta(milliseconds=left_ms))


def _held(row: Conversation, fields: Mapping[str, str]) -> Held:
    """Of what is saved and could not be trimmed yet nothing waits; nor what PostgreSQL took in Redis' place."""
    posted = {int(name): json.loads(value) for name, value in fields.items() if name.isdecimal()}
    unsaved = {number: posted[number] for number in sorted(posted) if number > row.redis_saved_through}
    return Held(
        turns=[
            {"seq": seq, **turn} for seq, (post_id, turn) in unsaved.items() if post_id not in row.doubted
        ],
        keys=[_saved_key(name[4:], value) for name, value in fields.items() if name.startswith("key:")],
        gone=not fields,
        missing=max(0, row.seen_in_redis - len(unsaved)),
    )


def _saved_key(key: str, value: str) -> SavedKey:
    known = json.loads(value)
    return SavedKey(key, known["hash"], known["first"], known["count"])
