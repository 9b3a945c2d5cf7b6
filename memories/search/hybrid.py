"""One ranking of two, in one statement: by the places memories have in both, and by what stands beside them.

A memory is often a line of something longer: a turn of a conversation, a step of a task. The answer to a question
then stands beside the line that has its words. So each memory lends part of its score to its neighbours, those
next to it with the same task and date. A memory with a task of its own has none, and nothing changes for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from memories.filters import CONDITION, IS_TENANTS, Filters
from memories.index.query import QueryVector
from memories.search.results import DISTANCE, ROW, SearchHit, compared_with, fetch
from memories.tenants import Tenant

# The first place counts (K + 10) / (K + 1) times as much as the tenth (Cormack, Clarke and Büttcher, 2009). The usual
# 60 makes them nearly equal, which is for many rankings of about the same worth; of two, it lets the middle of the
# one outvote the top of the other.
K = 3
# Beside 1 for the words. Flat between 0.5 and 1, see docs/explanation/search.md.
VECTOR_WEIGHT = 0.75
# What the next neighbour gets of a score, and the one after it.
SHARES = (0.5, 0.25)
# Others may write at the same time: among how many memories before and after a neighbour is looked for.
REACH = 8
# The best memories lend; what lower ones would lend moves nothing.
LENDERS = 30

# What the index found has a place only as long as it is as it was when the index learnt of it.
FUSED = f"""
SELECT id, sum(score) AS score FROM (
    SELECT id, 1 / ({K} + place)::float AS score
    FROM unnest(%(words)s::bigint[]) WITH ORDINALITY AS word (id, place)
    UNION ALL
    SELECT id, {VECTOR_WEIGHT} / ({K} + row_number() OVER (ORDER BY place))::float
    FROM unnest(%(meanings)s::bigint[]) WITH ORDINALITY AS meaning (id, place) JOIN memory_logs AS m USING (id)
    WHERE {IS_TENANTS} AND (m.indexed_version = m.version OR NOT %(from_index)s)
) AS place GROUP BY id
"""
# What is around is read from the index alone, which keeps the planner on the tenant's own.
AROUND = f"""
    SELECT m.id FROM memory_logs AS m WHERE {IS_TENANTS}
    AND m.id {{side}} lender.id ORDER BY m.id {{order}} LIMIT {REACH}
"""
LENT = f"""
SELECT m.id, fused.score * (ARRAY{list(SHARES)}::float[])[m.step] AS score
FROM (SELECT * FROM fused ORDER BY score DESC, id DESC LIMIT {LENDERS}) AS fused
JOIN memory_logs AS lender USING (id) CROSS JOIN LATERAL (
    SELECT one.*, row_number() OVER (PARTITION BY id < lender.id ORDER BY abs(id - lender.id)) AS step
    FROM (
        ({AROUND.format(side="<", order="DESC")}) UNION ALL ({AROUND.format(side=">", order="ASC")})
    ) AS around JOIN memory_logs AS one USING (id)
    WHERE one.task = lender.task AND one.date = lender.date
) AS m
WHERE m.step <= {len(SHARES)} AND {CONDITION}
"""
BEST = f"""
WITH fused AS MATERIALIZED ({FUSED}), lent AS ({LENT}), best AS (
    SELECT id, sum(score) AS score FROM (SELECT * FROM fused UNION ALL SELECT * FROM lent) AS part
    GROUP BY id ORDER BY score DESC, id DESC LIMIT %(limit)s
)
SELECT {ROW}, {DISTANCE}, best.score FROM best JOIN memory_logs AS m USING (id)
WHERE {IS_TENANTS} ORDER BY score DESC, id DESC
"""


class Rankings(NamedTuple):
    """Ids, best first."""

    words: Sequence[int]
    meanings: Sequence[int]
    # Whether the meanings are what the index says, which may be of what a memory said before.
    from_index: bool


def best(
    rankings: Rankings,
    tenant: Tenant,
    filters: Filters,
    *,
    query_vector: QueryVector | None,
    limit: int | None,
) -> list[SearchHit]:
    """The best by both rankings, compared with the question; without a limit, all and their neighbours."""
    parameters = {
        **rankings._asdict(),
        **tenant._asdict(),
        **filters.parameters(),
        **compared_with(query_vector),
    }
    return fetch(BEST, {**parameters, "limit": limit})
