"""The buffer in Redis: it costs no transaction a turn. A conversation is one hash: Redis loses all of it or nothing.

It loses what Redis loses: without persistence all waiting turns when Redis stops; with `appendonly yes` the last
second; a conversation that Redis evicts; a conversation that nobody saved within CONVERSATION_TTL_MINUTES. The loss
is noticed, because PostgreSQL knows which conversations Redis must know, and is recorded as a gap.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection

from memories.conversations.buffers import failover, number_blocks, redis_client
from memories.conversations.buffers.protocol import Activity, Contents
from memories.conversations.turns import Post, Receipt, SavedKey, Turn
from memories.models.conversation import Conversation

if TYPE_CHECKING:
    from redis.client import Pipeline

KEY = "semantix:conversation:"

# Only if Redis got no new block since the flush read the row. The unused rest of the block is taken back, so that
# numbers continue without a hole.
RELEASE = """
UPDATE conversations c
SET in_redis = false, seen_in_redis = 0, uncertain_posts = '{}',
    reserved_through = CASE WHEN r.block_end = c.reserved_through THEN r.last ELSE c.reserved_through END
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS r (id, reserved_through, last, block_end)
WHERE c.id = r.id AND c.reserved_through = r.reserved_through
"""
# Only if nothing was saved since the flush read the row.
NOTE_SEEN = """
UPDATE conversations c SET seen_in_redis = s.seen
FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS s (id, saved_through, seen)
WHERE c.id = s.id AND c.redis_saved_through = s.saved_through AND c.in_redis AND c.seen_in_redis <> s.seen
"""


class RedisBuffer:
    name = "redis"

    def append(self, post: Post) -> Receipt:
        """Store the turns. Raises KeyReused, FailedOver, or RedisAway: then Redis may hold the turns or not."""
        arguments = [post.key or "", post.body_hash if post.key else ""]
        arguments += [json.dumps([post.id, turn], ensure_ascii=False) for turn in post.stamped]
        keys = [failover.LEASE, key_of(post.tenant, post.conversation_id)]
        block_id = ""
        for _ in range(10):  # each round provides what the round before found missing
            outcome, *answer = redis_client.run(
                "append", keys, [redis_client.keep_ms(), block_id, *arguments]
            )
            match outcome:
                case "appended":
                    return Receipt(int(answer[0]), len(post.turns))
                case "known":
                    return post.check(_saved_key(post.key or "", answer[0]))
                case "lease":
                    failover.renew(int(answer[0]))
                case "block":
                    block_id = number_blocks.grant(post, keys[1])
        raise redis_client.RedisAway("other writers use up every block of numbers before this one can")

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        """Raises RedisAway."""
        rows = [row for row in rows if row.in_redis]
        with redis_client.translated_errors():
            pipeline = redis_client.get_client().pipeline(transaction=False)
            for row in rows:
                pipeline.hmget(key_of(row.tenant, row.conversation_id), "waiting", "at")
                pipeline.pttl(key_of(row.tenant, row.conversation_id))
            answers = pipeline.execute(raise_on_error=False)
            redis_client.raise_unless_about_a_key(answers)
        return {
            row.id: _activity(fields, remaining_ms)
            for row, fields, remaining_ms in zip(rows, answers[::2], answers[1::2], strict=True)
        }

    def note_waiting(self, activity: Mapping[Conversation, Activity]) -> None:
        """If Redis loses the conversation later, at least this many turns are missing."""
        seen = [(row.id, row.redis_saved_through, waiting.turns) for row, waiting in activity.items()]
        if seen:
            with connection.cursor() as cursor:
                cursor.execute(NOTE_SEEN, [list(column) for column in zip(*seen, strict=True)])

    def read(self, rows: Iterable[Conversation]) -> Mapping[int, Contents]:
        """Raises RedisAway, Unreadable."""
        rows = [row for row in rows if row.in_redis]
        with redis_client.translated_errors():
            pipeline = redis_client.get_client().pipeline(transaction=False)
            for row in rows:
                pipeline.hgetall(key_of(row.tenant, row.conversation_id))
            answers = pipeline.execute()
        return {row.id: _contents(row, fields) for row, fields in zip(rows, answers, strict=True)}

    def page(self, row: Conversation, after: int, limit: int) -> list[Turn]:
        """Raises RedisAway, Unreadable. Reads one number after the other: a block may have unused numbers."""
        key, client = key_of(row.tenant, row.conversation_id), redis_client.get_client()
        turns: list[Turn] = []
        with redis_client.translated_errors():
            first, last = (int(number or 0) for number in client.hmget(key, "first", "last"))
            number = max(after + 1, first, row.redis_saved_through + 1)
            while number <= last and len(turns) < limit:
                numbers = range(number, min(number + limit, last + 1))
                values = client.hmget(key, list(map(str, numbers)))
                known = {str(n): str(value) for n, value in zip(numbers, values, strict=True) if value}
                turns += _contents(row, known).turns
                number = numbers.stop
        return turns[:limit]

    def newest(self, rows: Sequence[Conversation], limit: int) -> Iterator[tuple[Conversation, Turn]]:
        """The waiting turns among the newest `limit` numbers of each conversation; a damaged one has none.

        Raises RedisAway.
        """
        keys = [key_of(row.tenant, row.conversation_id) for row in rows]
        ends = [_number(last) for last in _each(keys, lambda pipeline, key: pipeline.hget(key, "last"))]
        windows = [list(map(str, range(max(1, end - limit + 1), end + 1))) or ["0"] for end in ends]
        names = dict(zip(keys, windows, strict=True))
        answers = _each(keys, lambda pipeline, key: pipeline.hmget(key, names[key]))
        for row, window, values in zip(rows, windows, answers, strict=True):
            known = {} if isinstance(values, Exception) else dict(zip(window, values, strict=True))
            with suppress(redis_client.Unreadable):
                yield from (
                    (row, turn) for turn in _contents(row, {n: v for n, v in known.items() if v}).turns
                )

    def keep(self, rows: Iterable[Conversation]) -> None:
        """Raises RedisAway."""
        keys = [key_of(row.tenant, row.conversation_id) for row in rows]
        _each(keys, lambda pipeline, key: pipeline.pexpire(key, redis_client.keep_ms()))

    def mark_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        """Note on the rows which turns are saved: after a crash before `remove_saved` no turn is saved twice."""
        for row, waiting in contents.items():
            row.in_redis = row.in_redis and not waiting.forgotten
            row.seen_in_redis = 0
            row.redis_saved_through = max([row.redis_saved_through, *(turn["seq"] for turn in waiting.turns)])

    def remove_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        """Raises RedisAway: then the next flush removes the saved turns."""
        rows = [row for row in contents if row.in_redis]
        if not rows:
            return
        empty = [
            (row, answer) for row, answer in zip(rows, _trim(rows), strict=True) if answer and not answer[0]
        ]
        released = [(row.id, row.reserved_through, last, block_end) for row, (_, last, block_end) in empty]
        if released:
            with connection.cursor() as cursor:
                cursor.execute(RELEASE, [list(column) for column in zip(*released, strict=True)])


class AbandonedRedis(RedisBuffer):
    """Stands for a Redis that will not come back: the save records its turns as lost."""

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        return {row.id: Activity(0, None) for row in rows if row.in_redis}

    def read(self, rows: Iterable[Conversation]) -> Mapping[int, Contents]:
        return {row.id: Contents(forgotten=True, missing=row.seen_in_redis) for row in rows if row.in_redis}


def key_of(tenant: Sequence[str], conversation_id: str) -> str:
    """The Redis key of a conversation."""
    # The lengths distinguish ("ab", "c") from ("a", "bc").
    name = "".join(f"{len(part)}:{part}" for part in (*tenant, conversation_id))
    return KEY + hashlib.sha256(name.encode()).hexdigest()[:40]


def _each(keys: Sequence[str], command: Callable[["Pipeline", str], Any]) -> list[Any]:
    """The answer of a command for each key; an exception where the key holds no conversation. Raises RedisAway."""
    with redis_client.translated_errors():
        pipeline = redis_client.get_client().pipeline(transaction=False)
        for key in keys:
            command(pipeline, key)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        redis_client.raise_unless_about_a_key(answers)
    return answers


def _number(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() else 0


def _trim(rows: Sequence[Conversation]) -> list[Any]:
    with redis_client.translated_errors():
        pipeline = redis_client.get_client().pipeline(transaction=False)
        for row in rows:
            key = key_of(row.tenant, row.conversation_id)
            redis_client.add(pipeline, "trim", [key], [row.redis_saved_through])
        return list(pipeline.execute())


def _activity(fields: Sequence[str | None] | Exception, remaining_ms: int) -> Activity:
    """A conversation that cannot be read counts as due: the save then sets it aside."""
    try:
        waiting, at = fields  # type: ignore[misc]  # an exception has no fields
        last = datetime.fromtimestamp(int(at) / 1000, UTC) if at else None
        return Activity(int(waiting or 0), last, datetime.now(UTC) + timedelta(milliseconds=remaining_ms))
    except (TypeError, ValueError):
        return Activity(0, None)


def _contents(row: Conversation, fields: Mapping[str, str]) -> Contents:
    """Leaves out the turns that are saved and not removed yet, and those that PostgreSQL took in Redis' place."""
    try:
        posted = {int(name): json.loads(value) for name, value in fields.items() if name.isdecimal()}
        unsaved = {number: posted[number] for number in sorted(posted) if number > row.redis_saved_through}
        return Contents(
            turns=[
                {"seq": seq, **turn}
                for seq, (post_id, turn) in unsaved.items()
                if post_id not in row.uncertain_posts
            ],
            keys=[_saved_key(name[4:], value) for name, value in fields.items() if name.startswith("key:")],
            forgotten=not fields,
            missing=max(0, row.seen_in_redis - len(unsaved)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise redis_client.Unreadable(f"{key_of(row.tenant, row.conversation_id)}: {error!r}") from error


def _saved_key(key: str, value: str) -> SavedKey:
    saved = json.loads(value)
    return SavedKey(key, saved["hash"], saved["first"], saved["count"])
