"""Why the hits of a search stand where they do: the place of each in both rankings, and the words that it has."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from memories.search.results import SearchHit
from memories.search.search import Query, find

# The words of a query that each of these memories has.
WORDS = """
WITH term AS (
    SELECT lexeme, place, memory_term_key(memory_term_seed(
        (SELECT secret FROM memory_terms_secret), %(user_id)s, %(project_id)s), lexeme) AS key
    FROM memory_question(%(text)s, '{}') WHERE place IS NOT NULL
), held AS (
    SELECT memory_id, place, min(lexeme) AS lexeme FROM memory_terms CROSS JOIN term
    WHERE memory_id = ANY(%(ids)s) AND keys @> ARRAY[key] GROUP BY memory_id, place
)
SELECT memory_id, array_agg(lexeme ORDER BY place) FROM held GROUP BY memory_id
"""


@dataclass(frozen=True)
class Explained:
    """A hit, and its place in the answer, from 1. `hit.explanation` has its places in both rankings."""

    number: int
    hit: SearchHit
    # The words of the query that the memory has, as PostgreSQL stems them.
    found_words: Sequence[str]


@dataclass(frozen=True)
class ExplainedAnswer:
    hits: Sequence[Explained]
    # As Answer.backend.
    backend: str


def explain(query: Query) -> ExplainedAnswer:
    """Run a search without recording it. Raises Unavailable as `search` does."""
    answered = find(query)
    found_words = _found_words(query, [hit.memory_log_id for hit in answered.found])
    hits = [
        Explained(number, hit, found_words.get(hit.memory_log_id) or ())
        for number, hit in enumerate(answered.found, start=1)
    ]
    return ExplainedAnswer(hits, answered.backend)


def _found_words(query: Query, ids: list[int]) -> dict[int, list[str]]:
    with connection.cursor() as cursor:
        cursor.execute(WORDS, {**query.tenant._asdict(), "text": query.text, "ids": ids})
        return dict(cursor.fetchall())
