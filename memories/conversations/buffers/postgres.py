"""The buffer in PostgreSQL: durable when acknowledged. A request costs one statement in one small transaction.

It loses nothing that it acknowledged, as long as `synchronous_commit` is on (PostgreSQL's default).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from django.db import IntegrityError, connection, transaction
from django.db.models import Count
from psycopg.types.json import Jsonb

from memories.conversations.buffers.protocol import Activity, Contents
from memories.conversations.turns import Post, Receipt, SavedKey, Turn
from memories.models.conversation import BufferedTurn, Conversation, TurnKey
from memories.tenants import Tenant

# The lock on the row numbers the turns. Nothing is appended while Redis may number turns of this conversation as
# well (it got a block in this generation of the failover or in a later one): the order would be lost.
APPEND = """
WITH conversation AS (
    INSERT INTO conversations AS c (user_id, project_id, conversation_id, reserved_through, last_turn_at,
                                    uncertain_posts, saved_turns, in_redis, generation, redis_saved_through,
                                    seen_in_redis)
    VALUES (%(user_id)s, %(project_id)s, %(conversation_id)s, %(count)s, statement_timestamp(),
            %(uncertain_posts)s, 0, false, 0, 0, 0)
    ON CONFLICT (user_id, project_id, conversation_id) DO UPDATE
    SET reserved_through = c.reserved_through + %(count)s, last_turn_at = statement_timestamp(), closed_at = NULL,
        uncertain_posts = c.uncertain_posts || excluded.uncertain_posts
    WHERE %(generation)s::int IS NULL OR c.generation < %(generation)s
    RETURNING id, reserved_through - %(count)s AS base
), turns AS (
    INSERT INTO conversation_turns (conversation_id, seq, turn)
    SELECT id, base + new.number, new.turn
    FROM conversation, unnest(%(turns)s::jsonb[]) WITH ORDINALITY AS new (turn, number)
)
SELECT id, base FROM conversation
"""


class RedisIsBack(Exception):
    """Redis takes the turns of this conversation again."""


class PostgresBuffer:
    name = "postgres"

    def append(self, post: Post, *, generation: int | None = None, uncertain: bool = False) -> Receipt:
        """Store the turns.

        `generation` is the generation of the failover that sends the turns here, and None without Redis. `uncertain`
        says that Redis may hold the same turns. Raises KeyReused, RedisIsBack.
        """
        if post.key is None:
            return self._append(post, generation, uncertain)[1]
        if known := _known(post):
            return known
        try:
            with transaction.atomic():
                conversation_id, receipt = self._append(post, generation, uncertain)
                _store_key(conversation_id, post, receipt)
        except IntegrityError:
            if known := _known(post):  # the same request arrived twice at the same time
                return known
            raise
        return receipt

    def _append(self, post: Post, generation: int | None, uncertain: bool) -> tuple[int, Receipt]:
        parameters = {
            **post.tenant._asdict(),
            "conversation_id": post.conversation_id,
            "count": len(post.turns),
            "turns": [Jsonb(turn) for turn in post.stamped],
            "generation": generation,
            "uncertain_posts": [post.id] if uncertain else [],
        }
        with connection.cursor() as cursor:
            cursor.execute(APPEND, parameters)
            row = cursor.fetchone()
        if row is None:
            raise RedisIsBack
        conversation_id, base = row
        return conversation_id, Receipt(base + 1, len(post.turns))

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        by_id = {row.id: row for row in rows}
        waiting = BufferedTurn.objects.filter(conversation__in=by_id).order_by()
        counts = waiting.values_list("conversation").annotate(Count("id"))
        return {id: Activity(count, by_id[id].last_turn_at) for id, count in counts}

    def note_waiting(self, activity: Mapping[Conversation, Activity]) -> None:
        """Nothing to record: turns in PostgreSQL are not lost."""

    def read(self, rows: Iterable[Conversation]) -> Mapping[int, Contents]:
        turns: dict[int, list[Turn]] = defaultdict(list)
        for buffered in BufferedTurn.objects.filter(conversation__in=[row.id for row in rows]):
            turns[buffered.conversation_id].append({"seq": buffered.seq, **cast(Turn, buffered.turn)})
        return {id: Contents(turns=waiting) for id, waiting in turns.items()}

    def page(self, row: Conversation, after: int, limit: int) -> list[Turn]:
        waiting = BufferedTurn.objects.filter(conversation=row, seq__gt=after)[:limit]
        return [{"seq": buffered.seq, **cast(Turn, buffered.turn)} for buffered in waiting]

    def newest(self, tenant: Tenant, limit: int) -> Iterator[tuple[str, Turn]]:
        """The newest waiting turns of a tenant, each with the name of its conversation."""
        waiting = BufferedTurn.objects.filter(
            conversation__user_id=tenant.user_id, conversation__project_id=tenant.project_id
        ).order_by("-id")
        for name, seq, turn in waiting.values_list("conversation__conversation_id", "seq", "turn")[:limit]:
            yield name, {"seq": seq, **turn}

    def keep(self, rows: Iterable[Conversation]) -> None:
        """PostgreSQL drops nothing."""

    def mark_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM conversation_turns t USING unnest(%s::bigint[], %s::bigint[]) AS s (id, seq) "
                "WHERE t.conversation_id = s.id AND t.seq = s.seq",
                _columns(
                    (row.id, turn["seq"]) for row, waiting in contents.items() for turn in waiting.turns
                ),
            )

    def remove_saved(self, contents: Mapping[Conversation, Contents]) -> None:
        """The transaction has deleted them."""


def _columns(pairs: Iterable[tuple[int, int]]) -> list[Any]:
    return [list(column) for column in zip(*pairs, strict=True)] or [[], []]


def _known(post: Post) -> Receipt | None:
    row = TurnKey.objects.filter(
        conversation__user_id=post.tenant.user_id,
        conversation__project_id=post.tenant.project_id,
        conversation__conversation_id=post.conversation_id,
        key=post.key,
    ).first()
    return post.check(SavedKey(row.key, row.body_hash, row.first_turn, row.count)) if row else None


def _store_key(conversation_id: int, post: Post, receipt: Receipt) -> None:
    TurnKey.objects.create(
        conversation_id=conversation_id,
        key=post.key or "",
        body_hash=post.body_hash,
        first_turn=receipt.first,
        count=receipt.size,
    )
