"""Search the turns that wait to be saved, by words. Saved turns are found by the search of memories.

PostgreSQL ranks the turns of both buffers in one statement, with the words that it uses for memories. No index helps:
a turn is in a buffer for some minutes, and an index would cost every append. Instead the newest MOST turns of the
tenant are read, so a search has a bound: PostgreSQL and Python take about 60 ms of processor time for 1,000 turns
of 200 characters, half of it for the words of each turn.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connection

from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.turns import Turn
from memories.models.conversation import Conversation
from memories.tenants import Tenant
from memories.text import spoken_line

MOST = 1_000
# Conversations in Redis that are read, and turns of each at least.
CONVERSATIONS = 100
TURNS_EACH = MOST // CONVERSATIONS
# Of a longer turn the beginning is searched.
CHARACTERS = 4_000

# BM25 without the length of a turn: turns are short. A word weighs by how rare it is among the turns that wait.
RANKING = """
WITH term AS MATERIALIZED (
    SELECT number, t.lexeme, t.count
    FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS turn (text, number), memory_text_terms(text) AS t
), question AS MATERIALIZED (
    SELECT q.lexeme, coalesce(q.place::text, q.lexeme) AS word
    FROM memory_question(
        %(query)s, ARRAY(SELECT DISTINCT substr(lexeme, 3) FROM term WHERE starts_with(lexeme, 'ǀ='))
    ) AS q
), holder AS (
    SELECT number, word, max(count) AS count FROM term JOIN question USING (lexeme) GROUP BY 1, 2
), word AS (
    SELECT word, ln(1 + (%(turns)s - count(*) + 0.5) / (count(*) + 0.5)) AS rarity FROM holder GROUP BY word
)
SELECT number, sum(rarity * count / (count + 0.9))::float AS score FROM holder JOIN word USING (word)
GROUP BY number ORDER BY score DESC, number LIMIT %(limit)s
"""


class TurnHit(NamedTuple):
    conversation_id: str
    turn: Turn
    text: str
    score: float
    """Above 0; comparable only within one answer."""


class Answer(NamedTuple):
    """`complete` is False if Redis may hold more turns and does not answer."""

    hits: Sequence[TurnHit]
    complete: bool


class _Found(NamedTuple):
    conversation_id: str
    turn: Turn
    text: str


def search(tenant: Tenant, query: str, *, limit: int = 10) -> Answer:
    """The waiting turns that share words with the query, best first; of equals the newest first."""
    in_redis, complete = _in_redis(tenant)
    newest = sorted(
        [*_in_postgres(tenant), *in_redis], key=lambda found: str(found.turn.get("at")), reverse=True
    )
    return Answer(_ranked(newest[:MOST], query, limit), complete)


def _ranked(turns: Sequence[_Found], query: str, limit: int) -> list[TurnHit]:
    if not turns:
        return []
    texts = [found.text[:CHARACTERS] for found in turns]
    parameters: dict[str, Any] = {"texts": texts, "turns": len(texts), "query": query, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(RANKING, parameters)
        ranked = [(turns[number - 1], score) for number, score in cursor.fetchall()]
    return [TurnHit(found.conversation_id, found.turn, found.text, score) for found, score in ranked]


def _in_postgres(tenant: Tenant) -> Iterator[_Found]:
    for row, turn in PostgresBuffer().newest(tenant, MOST):
        yield _Found(row, turn, spoken_line(turn))


def _in_redis(tenant: Tenant) -> tuple[list[_Found], bool]:
    in_redis = Conversation.objects.filter(**tenant._asdict(), in_redis=True).order_by("-id")
    rows = list(in_redis[:CONVERSATIONS])
    if not rows:
        return [], True
    try:
        if not redis_client.is_configured():
            raise RedisAway("not configured")
        newest = list(RedisBuffer().newest(rows, max(TURNS_EACH, MOST // len(rows))))
    except RedisAway:
        return [], False
    return [_Found(row.conversation_id, turn, spoken_line(turn)) for row, turn in newest], True
