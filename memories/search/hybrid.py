"""Fusing two rankings into one, in one statement: by the memories' ranks in both, and by their neighbours' scores.

A memory is often one line of something longer: a turn of a conversation, a step of a task. The answer to a question is
then often next to the line that has the question's words. So each memory adds a part of its score to its neighbours:
the memories written just before and after it with the same task and date. A memory whose task is unique has none.
"""

from collections.abc import Sequence
from typing import NamedTuple

from memories.filters import CONDITION, IS_TENANTS, Filters
from memories.index.query import QueryVector
from memories.search.results import DISTANCE, ROW, SearchHit, compared_with, fetch
from memories.tenants import Tenant

# Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): rank 1 counts (K + 10) / (K + 1) times as much as rank
# 10. The usual 60 makes them nearly equal. That suits many rankings of equal quality. With two rankings, it lets the
# middle of one outvote the top of the other.
K = 3
# The words' weight is 1. Recall hardly changes between 0.5 and 1, see docs/explanation/search.md.
VECTOR_WEIGHT = 0.75
# The part of a memory's score that its next neighbour gets, and the one after that.
NEIGHBOUR_BOOSTS = (0.5, 0.25)
# Several writers may write at once, so neighbours are searched among this many memories on each side.
NEIGHBOUR_WINDOW = 8
# Only the top memories boost their neighbours. Lower ones change nothing.
MAX_BOOSTERS = 30

# A memory that the index found is ranked only if the index holds its present version.
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
# Only the index of the tenant's ids is read here. This keeps the planner on the tenant's own rows.
AROUND = f"""
    SELECT m.id FROM memory_logs AS m WHERE {IS_TENANTS}
    AND m.id {{side}} booster.id ORDER BY m.id {{order}} LIMIT {NEIGHBOUR_WINDOW}
"""
BOOSTED = f"""
SELECT m.id, fused.score * (ARRAY{list(NEIGHBOUR_BOOSTS)}::float[])[m.step] AS score
FROM (SELECT * FROM fused ORDER BY score DESC, id DESC LIMIT {MAX_BOOSTERS}) AS fused
JOIN memory_logs AS booster USING (id) CROSS JOIN LATERAL (
    SELECT one.*, row_number() OVER (PARTITION BY id < booster.id ORDER BY abs(id - booster.id)) AS step
    FROM (
        ({AROUND.format(side="<", order="DESC")}) UNION ALL ({AROUND.format(side=">", order="ASC")})
    ) AS around JOIN memory_logs AS one USING (id)
    WHERE one.task = booster.task AND one.date = booster.date
) AS m
WHERE m.step <= {len(NEIGHBOUR_BOOSTS)} AND {CONDITION}
"""
BEST = f"""
WITH fused AS MATERIALIZED ({FUSED}), boosted AS ({BOOSTED}), best AS (
    SELECT id, sum(score) AS score FROM (SELECT * FROM fused UNION ALL SELECT * FROM boosted) AS part
    GROUP BY id ORDER BY score DESC, id DESC LIMIT %(limit)s
)
SELECT {ROW}, {DISTANCE}, best.score FROM best JOIN memory_logs AS m USING (id)
WHERE {IS_TENANTS} ORDER BY score DESC, id DESC
"""


class Rankings(NamedTuple):
    """The ids of both rankings, best first."""

    words: Sequence[int]
    meanings: Sequence[int]
    # Whether the index made the second ranking. It may then be of a former version of a memory.
    from_index: bool


def best(
    rankings: Rankings,
    tenant: Tenant,
    filters: Filters,
    *,
    query_vector: QueryVector | None,
    limit: int | None,
) -> list[SearchHit]:
    """Return the best memories by both rankings, best first, with their distances to the query.

    Without a limit, all ranked memories and their neighbours.
    """
    parameters = {
        **rankings._asdict(),
        **tenant._asdict(),
        **filters.parameters(),
        **compared_with(query_vector),
    }
    return fetch(BEST, {**parameters, "limit": limit})
