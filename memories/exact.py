"""Search by meaning in PostgreSQL itself: exact, over all of a tenant's vectors. Slower than the index, and there
when the index is not; also for what the index does not have yet."""

import orjson
from django.db import connection

from memories.filters import Filters
from memories.index.searching import Question
from memories.lexical.ranking import ALLOWED
from memories.models import Tenant

# Vectors of one model and length only: others cannot be compared. CASE, because conditions of a WHERE come in any
# order, and comparing vectors of different lengths is an error.
NEAREST = f"""
SELECT id, distance FROM (
    SELECT m.id, CASE WHEN vector_dims(m.embedding) = %(dimensions)s
                 THEN m.embedding <=> %(vector)s::vector END AS distance
    FROM memory_logs m
    WHERE {ALLOWED} AND m.embedding_model = %(model)s AND m.embedded_hash = m.content_hash
) AS compared
WHERE distance IS NOT NULL ORDER BY distance, id LIMIT %(limit)s
"""


def nearest(tenant: Tenant, asked: Question, *, limit: int, filters: Filters) -> dict[int, float]:
    """The ids of the nearest memories with their cosine distance, nearest first."""
    parameters = {
        **filters.parameters(),
        "user_id": tenant.user_id,
        "project_id": tenant.project_id,
        "vector": orjson.dumps(asked.vector, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
        "dimensions": len(asked.vector),
        "model": asked.generation.model,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(NEAREST, parameters)
        return {id: max(0.0, distance) for id, distance in cursor.fetchall()}
