"""The hits of a search: memories as PostgreSQL has them, whichever store found them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import DEFAULT_DB_ALIAS

from memories.filters import IS_TENANTS
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.index.query import QueryVector, similarity_of
from memories.models import MemoryLog
from memories.search.statements import array, rows
from memories.tenants import Tenant
from memories.text import searchable_text

# In the order of the model's fields, as from_db requires.
COLUMNS = (
    "id",
    "user_id",
    "project_id",
    "task",
    "agent",
    "date",
    "raw_data",
    "version",
    "content_hash",
    "created_at",
)
# The columns that each statement here selects from `m`, a row of memory_logs, before distance and score.
ROW = ", ".join(f"m.{name}" for name in COLUMNS)
# NULL for a memory without an embedding of its present text and the model. The CASE is necessary because PostgreSQL
# refuses to compare vectors of different lengths, and the model in the settings may have changed. The SELECT makes a
# prepared statement read the text of the vector once, and not for each row.
DISTANCE = """
CASE WHEN m.embedded_hash = m.content_hash AND m.embedding_model = %(model)s
          AND vector_dims(m.embedding) = %(dimensions)s THEN m.embedding <=> (SELECT %(vector)s::vector) END
"""
# The row `m` of each id. With a plain join the planner may read all memories of the tenant instead: it multiplies the
# shares of user_id and project_id, and so takes each tenant for a small one. OFFSET 0 keeps it from making it a join.
BY_ID = "CROSS JOIN LATERAL (SELECT * FROM memory_logs AS one WHERE one.id = {id} OFFSET 0) AS m"

READ = f"""
SELECT {ROW}, {DISTANCE}, given.score
FROM unnest(%(ids)s::bigint[], %(scores)s::float[]) AS given (id, score) {BY_ID.format(id="given.id")}
WHERE {IS_TENANTS} ORDER BY score DESC, m.id DESC
"""


class Explanation(NamedTuple):
    """How a hit came to its place. A ranking that did not find it has no place and no value."""

    word_place: int | None = None
    # BM25; comparable only within one answer.
    word_score: float | None = None
    meaning_place: int | None = None
    # What the neighbours' scores added to the hit's own score.
    neighbours: float = 0.0


class SearchHit(NamedTuple):
    id: str
    memory_log_id: int
    document: str
    metadata: dict[str, Any]
    distance: float | None
    """The cosine distance; None where no vectors were compared."""
    similarity: float | None
    score: float
    """The order of the hits; comparable only within one answer."""
    raw_data: Any
    created_at: datetime
    explanation: Explanation = Explanation()


def read(tenant: Tenant, scores: Mapping[int, float], query_vector: QueryVector | None) -> list[SearchHit]:
    """Return the tenant's memories with these ids, best first, with their distances to the query.

    Of equal scores, the newer comes first.
    """
    given = {"ids": array(scores), "scores": array(scores.values())}
    return [hit(*row) for row in rows(READ, {**tenant._asdict(), **compared_with(query_vector), **given})]


def compared_with(query_vector: QueryVector | None) -> dict[str, Any]:
    """Return the parameters of DISTANCE."""
    if query_vector is None:
        return {"model": None, "dimensions": None, "vector": None}
    return {
        "model": query_vector.generation.model,
        "dimensions": query_vector.generation.dimensions,
        "vector": orjson.dumps(query_vector.vector, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
    }


def hit(*row: Any) -> SearchHit:
    """Return the hit of a row that has ROW, a distance and a score."""
    *values, distance, score = row
    memory = MemoryLog.from_db(DEFAULT_DB_ALIAS, COLUMNS, values)
    memory.raw_data = json.loads(memory.raw_data)
    distance = None if distance is None else max(0.0, distance)
    return SearchHit(
        id=document_id(memory.id, memory.tenant),
        memory_log_id=memory.id,
        document=searchable_text(task=memory.task, agent=memory.agent, raw_data=memory.raw_data),
        metadata=metadata_of(memory),
        distance=distance,
        similarity=None if distance is None else similarity_of(distance),
        score=score,
        raw_data=memory.raw_data,
        created_at=memory.created_at,
    )
