"""BM25 over a tenant's memories. It reads a bounded number of them."""

from typing import Any, NamedTuple

from memories.filters import ALLOWED, EVERYTHING, IS_TENANTS, Filters
from memories.search.lexical.statistics import Statistics, Term, statistics
from memories.search.statements import array, rows
from memories.tenants import Tenant

# How soon repetition stops counting, and how much a memory's length reduces its score: Anserini's values for BM25 on
# short passages, because memories are short.
K1 = 0.9
B = 0.4

# The rarest terms of a query select the candidates, one term after another until there are ENOUGH, and never more than
# MAX_CANDIDATES. Memories with common terms only are not read while there are better ones.
ENOUGH = 500
MAX_CANDIDATES = 10_000
# The best candidates by those terms are then scored by all terms of the query.
FINALISTS = 300
# If every term is common, the newest memories are the candidates.
NEWEST = 1_000

# BM25 without its constant factor. A memory's keys are ascending, and width_bucket is a binary search.
SCORE = "sum(rarity * count / (count + %(base)s::float + %(slope)s::float * length))"
BEST_BY_RARE_TERMS = f"""
    SELECT memory_id, {SCORE} AS score FROM term CROSS JOIN LATERAL (
        SELECT memory_id, length, counts[width_bucket(term.key, keys)]::float AS count
        FROM memory_terms AS m WHERE keys @> ARRAY[term.key] AND {IS_TENANTS}
    ) AS holder {{allowed}}
    WHERE term.rare GROUP BY memory_id ORDER BY score DESC, memory_id DESC LIMIT %(finalists)s
"""
NEWEST_MEMORIES = f"""
    SELECT m.id AS memory_id, 0 AS score FROM memory_logs AS m WHERE {ALLOWED} ORDER BY m.id DESC LIMIT {NEWEST}
"""
RANKING = f"""
WITH term AS MATERIALIZED (
    SELECT * FROM unnest(%(keys)s::bigint[], %(rarities)s::float[], %(rare)s::bool[]) AS t (key, rarity, rare)
), finalist AS MATERIALIZED ({{finalists}})
SELECT memory_id, finalist.score + coalesce((
    SELECT {SCORE} FROM (
        SELECT rarity, counts[width_bucket(key, keys)]::float AS count FROM term
        WHERE NOT rare AND keys[width_bucket(key, keys)] = key
    ) AS common
), 0) AS score
FROM finalist JOIN memory_terms USING (memory_id)
ORDER BY score DESC, memory_id DESC LIMIT %(limit)s
"""


class Ranked(NamedTuple):
    memory_id: int
    score: float
    """BM25: above 0, and comparable only within one query."""


def lexical_search(tenant: Tenant, query: str, limit: int, filters: Filters = EVERYTHING) -> list[Ranked]:
    """Return the memories that share words with the query, best first; of equal scores, the newer first.

    A rarer word among the tenant's memories has a higher weight. Empty when the tenant has no word of the query.
    """
    found = statistics(tenant, query)
    rare = _selecting_terms(found.terms, MAX_CANDIDATES if filters else ENOUGH)
    ranked: list[Ranked] = []
    if rare:
        join = f"JOIN memory_logs AS m ON m.id = memory_id AND {ALLOWED}" if filters else ""
        finalists = BEST_BY_RARE_TERMS.format(allowed=join)
        ranked = _ranked(finalists, _parameters(tenant, found, len(rare), limit, filters), filters)
    if len(ranked) < limit and len(rare) < len(found.terms):
        known = {memory_id for memory_id, _ in ranked}
        newest = _ranked(NEWEST_MEMORIES, _parameters(tenant, found, 0, limit, filters), filters)
        ranked += [item for item in newest if item.memory_id not in known][: limit - len(ranked)]
    return sorted(ranked, key=lambda item: (-item.score, -item.memory_id))


def _selecting_terms(terms: list[Term], enough: int) -> list[Term]:
    """Return the first of `terms` (rarest first) that select `enough` candidates, as far as MAX_CANDIDATES allows."""
    candidates = 0
    for count, term in enumerate(terms):
        if candidates >= enough or candidates + term.memories > MAX_CANDIDATES:
            return terms[:count]
        candidates += term.memories
    return terms


def _parameters(tenant: Tenant, found: Statistics, rare: int, limit: int, filters: Filters) -> dict[str, Any]:
    """Return the parameters of RANKING. The first `rare` terms select the candidates."""
    return {
        **tenant._asdict(),
        "keys": array(term.key for term in found.terms),
        "rarities": array(found.rarity(term) for term in found.terms),
        "rare": array(number < rare for number in range(len(found.terms))),
        "base": K1 * (1 - B),
        "slope": K1 * B / found.average_length,
        "finalists": limit if rare == len(found.terms) else max(limit, FINALISTS),
        "limit": limit,
        **filters.parameters(),
    }


def _ranked(finalists: str, parameters: dict[str, Any], filters: Filters) -> list[Ranked]:
    return [
        Ranked(*row) for row in rows(RANKING.format(finalists=finalists), parameters, filters) if row[1] > 0
    ]
