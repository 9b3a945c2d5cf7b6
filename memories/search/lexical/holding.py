"""Memories that have all words of a text, of many tenants at once: for an operator who does not know the tenant.

The keys of terms differ from tenant to tenant, so the words are looked up once for each. There is no ranking, because
how rare a word is differs from tenant to tenant, too.
"""

from typing import Any, NamedTuple

from django.db import connection

# One look into the index for each tenant: 1,000 take less than a second.
MAX_TENANTS = 1_000
# Words of a text that a memory must have. A pasted page has more.
MAX_WORDS = 16

# The words of a text, each with its forms: its stems in English and in the language of the text.
WORDS = """
SELECT array_agg(DISTINCT lexeme) FROM memory_question(%(text)s, '{}') WHERE place IS NOT NULL
GROUP BY place ORDER BY place LIMIT %(max_words)s
"""
# The tenants are found by jumping through the index of memories: distinct values would read all of it.
HOLDING = """
WITH RECURSIVE tenant AS (
    (SELECT user_id, project_id FROM memory_logs WHERE %(user_id)s::text IS NULL OR user_id = %(user_id)s
     ORDER BY user_id, project_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM tenant CROSS JOIN LATERAL (
        SELECT m.user_id, m.project_id FROM memory_logs AS m
        WHERE (m.user_id, m.project_id) > (tenant.user_id, tenant.project_id)
          AND (%(user_id)s::text IS NULL OR m.user_id = %(user_id)s)
        ORDER BY m.user_id, m.project_id LIMIT 1
    ) AS next
), known AS MATERIALIZED (
    SELECT *, memory_term_seed((SELECT secret FROM memory_terms_secret), user_id, project_id) AS seed
    FROM (SELECT * FROM tenant LIMIT %(max_tenants)s + 1) AS found
)
SELECT (SELECT count(*) FROM known), ARRAY(
    SELECT found.memory_id FROM (SELECT * FROM known LIMIT %(max_tenants)s) AS searched CROSS JOIN LATERAL (
        SELECT memory_id FROM memory_terms AS m
        WHERE {has_every_word} AND (m.user_id, m.project_id) = (searched.user_id, searched.project_id)
    ) AS found
    ORDER BY 1 DESC LIMIT %(limit)s
)
"""
HAS_WORD = """m.keys && ARRAY(
    SELECT memory_term_key(searched.seed, lexeme) FROM unnest(%(word_{number})s::text[]) AS lexeme
)"""


class Holding(NamedTuple):
    """Ids of memories, newest first; whether there are more tenants than were searched."""

    ids: list[int]
    is_partial: bool


def memories_with_all_words(text: str, *, user_id: str | None = None, limit: int) -> Holding:
    """Return the newest `limit` memories with all words of the text, of one user or of all. None has no words."""
    words = words_of(text)
    if not words:
        return Holding([], is_partial=False)
    parameters: dict[str, Any] = {"user_id": user_id, "limit": limit, "max_tenants": MAX_TENANTS}
    parameters |= {f"word_{number}": forms for number, forms in enumerate(words)}
    clauses = " AND ".join(HAS_WORD.format(number=number) for number in range(len(words)))
    with connection.cursor() as cursor:
        cursor.execute(HOLDING.format(has_every_word=clauses), parameters)
        [(tenants, ids)] = cursor.fetchall()
    return Holding(ids, is_partial=tenants > MAX_TENANTS)


def words_of(text: str) -> list[list[str]]:
    """Return the words of the text in their order, each with its stems."""
    with connection.cursor() as cursor:
        cursor.execute(WORDS, {"text": text, "max_words": MAX_WORDS})
        return [forms for (forms,) in cursor.fetchall()]
