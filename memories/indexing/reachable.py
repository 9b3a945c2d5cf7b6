"""Whether the index finds memories that it holds: its search is approximate, and a vector without links is lost."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.models import Generation, MemoryLog

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

# Of the compared memories, every so manyth is asked for by its own vector, and must be among the first of the answer.
STEP, FIRST = 50, 10
# Memories with the same vector push each other out. Chroma's distances are off by this much.
EQUAL = 1e-5


def sample(rows: Sequence[MemoryLog]) -> list[MemoryLog]:
    """Return the memories to ask for: one in STEP."""
    return [row for row in rows if row.id % STEP == 0]


def not_found(generation: Generation, rows: Sequence[MemoryLog]) -> list[MemoryLog]:
    """Return the memories that are not among the nearest of their own vector. Raises as with_collection."""
    if not rows:
        return []
    return with_collection(generation, partial(_not_found, rows=rows))


def _not_found(collection: "Collection", rows: Sequence[MemoryLog]) -> list[MemoryLog]:
    vectors = np.array([row.embedding for row in rows], dtype=np.float32)
    found = collection.query(query_embeddings=vectors, n_results=FIRST, include=["distances"])
    answers = zip(rows, found["ids"], found["distances"] or (), strict=True)
    return [
        row
        for row, ids, distances in answers
        if document_id(row.id, row.tenant) not in ids and (len(ids) < FIRST or distances[-1] > EQUAL)
    ]
