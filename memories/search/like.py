"""The memories that are most like one of them."""

from dataclasses import replace

import numpy as np

from memories.index import generations
from memories.index.query import QueryVector
from memories.models import MemoryLog
from memories.search.search import Answer, Mode, Query, find, number, record
from memories.text import searchable_text


def answer_like(row: MemoryLog, query: Query) -> Answer:
    """Do what `find_like` does, and record it as a search."""
    answered = find_like(row, query)
    record(query, answered)
    return answered


def find_like(row: MemoryLog, query: Query) -> Answer:
    """Return the memories nearest to this one, without itself. The text of the query is not used.

    A memory whose text is not embedded yet is embedded as a question. Raises Unavailable.
    """
    text = searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
    asked = replace(query, text=text, mode=Mode.VECTOR, limit=query.limit + 1, vector=_vector(row))
    answered = find(asked)
    others = [hit for hit in answered.found if hit.memory_log_id != row.id]
    return replace(answered, found=number(others[: query.limit]))


def _vector(row: MemoryLog) -> QueryVector | None:
    live = generations.of_tenant(row.tenant)
    generation = live.active or live.building
    if generation is None or row.embedding is None or row.embedded_hash != row.content_hash:
        return None
    if (row.embedding_model, len(row.embedding)) != (generation.model, generation.dimensions):
        return None
    return QueryVector(generation, np.asarray(row.embedding, dtype=np.float32))
