"""Search by meaning in PostgreSQL itself: exact, over all of a tenant's vectors. Slower than the index, and there
when the index is not; also for what the index does not have yet."""

from django.db import connection

from memories.filters import ALLOWED, Filters
from memories.hits import DISTANCE, compared_with
from memories.index.searching import Question
from memories.models import Tenant

NEAREST = f"""
SELECT id, distance FROM (SELECT m.id, {DISTANCE} AS distance FROM memory_logs AS m WHERE {ALLOWED}) AS compared
WHERE distance IS NOT NULL ORDER BY distance, id LIMIT %(limit)s
"""


def nearest(tenant: Tenant, asked: Question, *, limit: int, filters: Filters) -> dict[int, float]:
    """The ids of the nearest memories with their cosine distance, nearest first."""
    parameters = {**tenant._asdict(), **filters.parameters(), **compared_with(asked), "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(NEAREST, parameters)
        return {id: max(0.0, distance) for id, distance in cursor.fetchall()}
