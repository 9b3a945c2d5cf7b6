"""The buffer in PostgreSQL: durable when acknowledged, one statement and one small transaction a request.

What it can lose: nothing that was acknowledged (as long as `synchronous_commit` is on, PostgreSQL's default).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.db import IntegrityError, connection, transaction
from django.db.models import Count
from psycopg.types.json import Jsonb

from memories.conversations.buffers.protocol import Activity, Held
from memories.conversations.turns import Post, Receipt, SavedKey, Turn
from memories.models.conversation import BufferedTurn, Conversation, TurnKey

# The row's lock numbers the turns. While Redis may number them, too (a block was lent in this generation of the
# switch or a later one), nothing is appended: the order would be lost.
APPEND = """
WITH conversation AS (
    INSERT INTO conversations AS c (user_id, project_id, conversation_id, given_through, last_turn_at, doubted,
                                    saved_turns, in_redis, generation, redis_saved_through, seen_in_redis)
    VALUES (%(user_id)s, %(project_id)s, %(conversation_id)s, %(count)s, statement_timestamp(), %(doubted)s,
            0, false, 0, 0, 0)
    ON CONFLICT (user_id, project_id, conversation_id) DO UPDATE
    SET given_through = c.given_through + %(count)s, last_turn_at = statement_timestamp(), closed_at = NULL,
        doubted = c.doubted || excluded.doubted
    WHERE %(generation)s::int IS NULL OR c.generation < %(generation)s
    RETURNING id, given_through - %(count)s AS base
), turns AS (
    INSERT INTO conversation_turns (conversation_id, seq, turn)
    SELECT id, base + given.number, given.turn
    FROM conversation, unnest(%(turns)s::jsonb[]) WITH ORDINALITY AS given (turn, number)
)
SELECT id, base FROM conversation
"""


class Overtaken(Exception):
    """Redis takes the turns of this conversation again."""


class PostgresBuffer:
    name = "postgres"

    def append(self, post: Post, *, generation: int | None = None, doubted: bool = False) -> Receipt:
        """Take the turns in; `generation`: of the switch, where it diverts them from Redis, and `doubted`:
        they may be there as well. Raises KeyReused, Overtaken."""
        if post.key is None:
            return self._append(post, generation, doubted)[1]
        if known := _known(post):
            return known
        try:
            with transaction.atomic():
                conversation_id, receipt = self._append(post, generation, doubted)
                _note_key(conversation_id, post, receipt)
        except IntegrityError:
            if known := _known(post):  # the same request, at the same time
                return known
            raise
        return receipt

    def _append(self, post: Post, generation: int | None, doubted: bool) -> tuple[int, Receipt]:
        parameters = {
            **post.tenant._asdict(),
            "conversation_id": post.conversation_id,
            "count": len(post.turns),
            "turns": [Jsonb(turn) for turn in post.stamped],
            "generation": generation,
            "doubted": [post.id] if doubted else [],
        }
        with connection.cursor() as cursor:
            cursor.execute(APPEND, parameters)
            found = cursor.fetchone()
        if found is None:
            raise Overtaken
        return found[0], Receipt(found[1] + 1, len(post.turns))

    def activity(self, rows: Iterable[Conversation]) -> Mapping[int, Activity]:
        by_id = {row.id: row for row in rows}
        waiting = BufferedTurn.objects.filter(conversation__in=by_id).order_by()
        counts = waiting.values_list("conversation").annotate(Count("id"))
        return {id: Activity(count, by_id[id].last_turn_at) for id, count in counts}

    def left(self, activity: Mapping[Conversation, Activity]) -> None:
        """Nothing to note: what waits here is not lost."""

    def held(self, rows: Iterable[Conversation]) -> Mapping[int, Held]:
        turns: dict[int, list[Turn]] = defaultdict(list)
        for waiting in BufferedTurn.objects.filter(conversation__in=[row.id for row in rows]):
            turns[waiting.conversation_id].append({"seq": waiting.seq, **cast(Turn, waiting.turn)})
        return {id: Held(turns=its) for id, its in turns.items()}

    def saving(self, held: Mapping[Conversation, Held]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM conversation_turns t USING unnest(%s::bigint[], %s::bigint[]) AS s (id, seq) "
                "WHERE t.conversation_id = s.id AND t.seq = s.seq",
                _columns((row.id, turn["seq"]) for row, its in held.items() for turn in its.turns),
            )

    def saved(self, held: Mapping[Conversation, Held]) -> None:
        """They went with the commit."""


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


def _note_key(conversation_id: int, post: Post, receipt: Receipt) -> None:
    TurnKey.objects.create(
        conversation_id=conversation_id,
        key=post.key or "",
        body_hash=post.body_hash,
        first_turn=receipt.first,
        count=receipt.size,
    )
