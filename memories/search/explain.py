"""Why the hits of a search stand where they do: the places of each in both rankings, and the parts of its score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import connection

from memories.search.hybrid import MARGIN, VECTOR_WEIGHT
from memories.search.lexical import Ranked, lexical_search
from memories.search.results import SearchHit
from memories.search.search import DEPTH, Mode, Query, find

# The words of a query that each of these memories has. A term that stands for signs (see functions.sql) is no word that
# a person wrote.
WORDS = """
WITH term AS (
    SELECT lexeme, positions[1] AS position, memory_term_key(memory_term_seed(
        (SELECT secret FROM memory_terms_secret), %(user_id)s, %(project_id)s), lexeme) AS key
    FROM unnest(memory_lexemes(%(text)s)) WHERE lexeme !~ '[ǀʘǂ]'
)
SELECT memory_id, array_agg(lexeme ORDER BY position) FILTER (WHERE keys @> ARRAY[key])
FROM memory_terms CROSS JOIN term WHERE memory_id = ANY(%(ids)s) GROUP BY 1
"""


@dataclass(frozen=True)
class Place:
    """A place in one ranking, from 1, and the part of the hybrid score that it gives."""

    number: int
    of: int
    part: float


@dataclass(frozen=True)
class Explained:
    """A hit, its place in the answer, and where it comes from. A place is None where a ranking does not have it."""

    number: int
    hit: SearchHit
    words: Place | None
    meaning: Place | None
    # The words of the query that the memory has, as PostgreSQL stems them.
    found_words: Sequence[str]
    # The part of a hybrid score that comes from memories that were written just before and after it.
    from_neighbours: float


@dataclass(frozen=True)
class Explanation:
    hits: Sequence[Explained]
    # As Answer.backend.
    backend: str


def explain(query: Query) -> Explanation:
    """Run a search without recording it, and both of its rankings. Raises Unavailable as `search` does."""
    answered = find(query)
    words = _words(query) if query.mode != Mode.VECTOR else {}
    meaning = _meaning(query) if answered.backend else {}
    found_words = _found_words(query, [hit.memory_log_id for hit in answered.found])
    hits = [
        _explained(
            number, hit, query, words.get(hit.memory_log_id), meaning.get(hit.memory_log_id), found_words
        )
        for number, hit in enumerate(answered.found, start=1)
    ]
    return Explanation(hits, answered.backend)


def _explained(
    number: int,
    hit: SearchHit,
    query: Query,
    words: Place | None,
    meaning: Place | None,
    found_words: dict[int, list[str]],
) -> Explained:
    parts = sum(place.part for place in (words, meaning) if place)
    rest = hit.score - parts if query.mode == Mode.HYBRID else 0.0
    return Explained(
        number, hit, words, meaning, found_words.get(hit.memory_log_id) or (), rest if rest > 1e-6 else 0.0
    )


def _words(query: Query) -> dict[int, Place]:
    ranked: list[Ranked] = lexical_search(query.tenant, query.text, _depth(query), query.filters)
    best = max((item.score for item in ranked), default=1.0)
    return {
        item.memory_id: Place(number, len(ranked), item.score / best)
        for number, item in enumerate(ranked, start=1)
    }


def _meaning(query: Query) -> dict[int, Place]:
    nearest = find(replace(query, mode=Mode.VECTOR, limit=_depth(query), min_similarity=0.0)).found
    distances = [hit.distance or 0.0 for hit in nearest]
    farthest, width = max(distances, default=0.0), max(distances, default=0.0) - min(distances, default=0.0)
    return {
        hit.memory_log_id: Place(
            number, len(nearest), VECTOR_WEIGHT * (farthest - distance + MARGIN) / (width + MARGIN)
        )
        for number, (hit, distance) in enumerate(zip(nearest, distances, strict=True), start=1)
    }


def _depth(query: Query) -> int:
    return max(DEPTH, query.limit)


def _found_words(query: Query, ids: list[int]) -> dict[int, list[str]]:
    with connection.cursor() as cursor:
        cursor.execute(WORDS, {**query.tenant._asdict(), "text": query.text, "ids": ids})
        return dict(cursor.fetchall())
