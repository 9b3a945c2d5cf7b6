"""The ranking by meaning: the memories that Chroma or PostgreSQL compared with the query, and what their rows say."""

from typing import Any

from memories.filters import CONDITION, IS_TENANTS, Filters
from memories.index.query import Neighbours, QueryVector
from memories.search.results import BY_ID, DISTANCE, ROW, SearchHit, compared_with, hit
from memories.search.statements import array, rows
from memories.tenants import Tenant

# A memory that changed since it was indexed has another vector now, and a memory that is not indexed yet has none in
# Chroma. PostgreSQL compares the newest of them itself.
MAX_UNINDEXED = 256

# The ids and distances of the ranking, given what a store compared. Chroma narrows by a part of the conditions, and it
# knows memories that were changed or deleted since. So the rows decide.
MEANING = f"""
SELECT id, distance FROM (
    SELECT m.id, near.distance
    FROM unnest(%(near_ids)s::bigint[], %(near_distances)s::float[]) AS near (id, distance)
    {BY_ID.format(id="near.id")}
    WHERE {IS_TENANTS} AND {CONDITION} AND (m.indexed_version = m.version OR NOT %(from_index)s)
    UNION ALL
    SELECT m.id, {DISTANCE} FROM (
        SELECT * FROM memory_logs AS m
        WHERE %(from_index)s AND {IS_TENANTS} AND (m.indexed_version IS NULL OR m.indexed_version <> m.version)
          AND m.embedding IS NOT NULL AND {CONDITION}
        ORDER BY m.id DESC LIMIT {MAX_UNINDEXED}
    ) AS m
) AS compared WHERE distance IS NOT NULL ORDER BY distance, id DESC LIMIT %(depth)s
"""
READ_NEAREST = f"""
WITH meaning AS ({MEANING})
SELECT {ROW}, meaning.distance, 1 - meaning.distance / 2 FROM meaning {BY_ID.format(id="meaning.id")}
ORDER BY distance, m.id DESC
"""
EMBEDDED = f"""
SELECT count(*) FROM (
    SELECT FROM memory_logs AS m WHERE {IS_TENANTS} AND m.embedded_hash = m.content_hash LIMIT %(depth)s
) AS embedded
"""


def parameters(
    neighbours: Neighbours,
    tenant: Tenant,
    filters: Filters,
    query_vector: QueryVector | None,
    *,
    from_index: bool,
    depth: int,
) -> dict[str, Any]:
    """Return the parameters of MEANING. `from_index` tells that Chroma compared the neighbours, not PostgreSQL."""
    return {
        **tenant._asdict(),
        **filters.parameters(),
        **compared_with(query_vector),
        "near_ids": array(neighbours.distances),
        "near_distances": array(neighbours.distances.values()),
        "from_index": from_index,
        "depth": depth,
    }


def read_nearest(given: dict[str, Any], filters: Filters) -> list[SearchHit]:
    """Return the memories of the ranking with these parameters, nearest first."""
    return [hit(*row) for row in rows(READ_NEAREST, given, filters)]


def count_embedded(tenant: Tenant, depth: int) -> int:
    """Return how many memories of the tenant have an embedding of their present text, at most `depth`."""
    [(count,)] = rows(EMBEDDED, {**tenant._asdict(), "depth": depth})
    return int(count)
