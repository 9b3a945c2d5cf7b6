"""Search by meaning in PostgreSQL: exact, over all of a tenant's vectors.

It is slower than the index, and it works while the index is unavailable or lacks memories.
"""

from django.db import connection

from memories.filters import ALLOWED, Filters
from memories.index.query import Neighbours, QueryVector
from memories.search.results import DISTANCE, compared_with
from memories.tenants import Tenant

NEAREST = f"""
SELECT id, distance FROM (SELECT m.id, {DISTANCE} AS distance FROM memory_logs AS m WHERE {ALLOWED}) AS compared
WHERE distance IS NOT NULL ORDER BY distance, id LIMIT %(limit)s
"""


def nearest(tenant: Tenant, query_vector: QueryVector, *, limit: int, filters: Filters) -> Neighbours:
    """Return the nearest `limit` memories that meet the filters."""
    parameters = {**tenant._asdict(), **filters.parameters(), **compared_with(query_vector), "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(filters.put_into(NEAREST), parameters)
        return Neighbours({id: max(0.0, distance) for id, distance in cursor.fetchall()})
