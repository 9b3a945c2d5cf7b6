"""BM25 over a tenant's memories, reading no more of them than a bounded number."""

from typing import Any, NamedTuple

from django.db import connection

from memories.filters import ALLOWED, EVERYTHING, Filters
from memories.search.lexical.statistics import Statistics, Term, statistics
from memories.tenants import Tenant

# How soon repetition stops counting, and how much length counts against a memory: Anserini's values for BM25
# on short passages, which is what memories are.
K1 = 0.9
B = 0.4

# The rarest terms of a question bring the candidates, one after the other until there are ENOUGH, never more
# than MOST: what has only common words is not read where there is better.
ENOUGH = 500
MOST = 10_000
# The best by those terms are then scored by all terms of the question.
FINALISTS = 300
# Where every term is common, the newest memories are the candidates.
NEWEST = 1_000

# BM25 without its constant factor. The keys of a memory are ascending: width_bucket is the binary search.
SCORE = "sum(rarity * count / (count + %(base)s::float + %(slope)s::float * length))"
BEST_BY_RARE_TERMS = f"""
    SELECT memory_id, {SCORE} AS score FROM term CROSS JOIN LATERAL (
        SELECT memory_id, length, counts[width_bucket(term.key, keys)]::float AS count
        FROM memory_terms WHERE keys @> ARRAY[term.key]
    ) AS holder {{allowed}}
    WHERE term.rare GROUP BY memory_id ORDER BY score DESC, memory_id DESC LIMIT %(finalists)s
"""
NEWEST_MEMORIES = f"""
    SELECT m.id AS memory_id, 0 AS score FROM memory_logs AS m WHERE {ALLOWED} ORDER BY m.id DESC LIMIT {NEWEST}
"""
# The tenant is checked in a subquery, which is a look-up by id a row, whatever the planner believes of
# the tenant's size.
RANKING = """
WITH term AS MATERIALIZED (
    SELECT * FROM unnest(%(keys)s::int[], %(rarities)s::float[], %(rare)s::bool[]) AS t (key, rarity, rare)
), finalist AS MATERIALIZED ({finalists})
SELECT memory_id, finalist.score + coalesce((
    SELECT {score} FROM term, width_bucket(key, keys) AS place, LATERAL (SELECT counts[place]::float) AS c (count)
    WHERE NOT rare AND keys[place] = key
), 0) AS score
FROM finalist JOIN memory_terms USING (memory_id)
WHERE (SELECT (m.user_id, m.project_id) = (%(user_id)s, %(project_id)s) FROM memory_logs AS m WHERE m.id = memory_id)
ORDER BY score DESC, memory_id DESC LIMIT %(limit)s
"""


class Ranked(NamedTuple):
    memory_id: int
    score: float
    """BM25: above 0; comparable only within one question."""


def lexical_search(tenant: Tenant, query: str, limit: int, filters: Filters = EVERYTHING) -> list[Ranked]:
    """The memories that share words with the question, best first; the newer first of equals.

    A word weighs by how rare it is among the tenant's memories. None when no word of it is known.
    """
    found = statistics(tenant, query)
    rare = _bringing_candidates(found.terms, MOST if filters else ENOUGH)
    ranked: list[Ranked] = []
    if rare:
        join = f"JOIN memory_logs AS m ON m.id = memory_id AND {ALLOWED}" if filters else ""
        finalists = BEST_BY_RARE_TERMS.format(allowed=join)
        ranked = _ranked(finalists, _parameters(tenant, found, len(rare), limit, filters))
    if len(ranked) < limit and len(rare) < len(found.terms):
        known = {memory_id for memory_id, _ in ranked}
        newest = _ranked(NEWEST_MEMORIES, _parameters(tenant, found, 0, limit, filters))
        ranked += [item for item in newest if item.memory_id not in known][: limit - len(ranked)]
    return sorted(ranked, key=lambda item: (-item.score, -item.memory_id))


def _bringing_candidates(terms: list[Term], enough: int) -> list[Term]:
    """The first of `terms` (rarest first) that bring `enough` candidates, as far as MOST allows."""
    brought = 0
    for count, term in enumerate(terms):
        if brought >= enough or brought + term.memories > MOST:
            return terms[:count]
        brought += term.memories
    return terms


def _parameters(tenant: Tenant, found: Statistics, rare: int, limit: int, filters: Filters) -> dict[str, Any]:
    """Of the RANKING; the first `rare` terms bring the candidates."""
    return {
        **tenant._asdict(),
        "keys": [term.key for term in found.terms],
        "rarities": [found.rarity(term) for term in found.terms],
        "rare": [number < rare for number in range(len(found.terms))],
        "base": K1 * (1 - B),
        "slope": K1 * B / found.average_length,
        "finalists": limit if rare == len(found.terms) else max(limit, FINALISTS),
        "limit": limit,
        **filters.parameters(),
    }


def _ranked(finalists: str, parameters: dict[str, Any]) -> list[Ranked]:
    with connection.cursor() as cursor:
        cursor.execute(RANKING.format(finalists=finalists, score=SCORE), parameters)
        return [Ranked(*row) for row in cursor.fetchall() if row[1] > 0]
