"""What is derived from a memory and stored on its row: its embedding, and the version that the index holds."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connection, transaction

import outbox
from memories import metrics
from memories.embeddings import embed_documents, is_truncated
from memories.embeddings.backend import Vectors
from memories.index import generations
from memories.models import Generation, MemoryLog
from memories.models.vector_field import Reals
from memories.text import searchable_text
from outbox.database import prepared
from outbox.database.async_commit import own_transaction

# Rows are locked in the order of their ids, so that an embedder and an indexer do not deadlock. An embedding of a text
# that has changed meanwhile is not stored: the change has its own event.
STORE_EMBEDDINGS = """
WITH given AS (
    SELECT id, hash, (%(numbers)s::real[])[(place - 1) * %(size)s + 1 : place * %(size)s] AS vector
    FROM unnest(%(ids)s::bigint[], %(hashes)s::text[]) WITH ORDINALITY AS g (id, hash, place)
), locked AS (
    SELECT m.id FROM memory_logs m WHERE m.id = ANY(%(ids)s) ORDER BY m.id FOR NO KEY UPDATE
)
UPDATE memory_logs m
SET embedding = g.vector::vector, embedded_hash = g.hash, embedding_model = %(model)s, embedded_at = now()
FROM given g JOIN locked USING (id)
WHERE m.id = g.id AND m.content_hash = g.hash
RETURNING m.id
"""
MARK_INDEXED = """
WITH given AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(versions)s::int[]) AS g (id, version)
), locked AS (
    SELECT m.id FROM memory_logs m WHERE m.id = ANY(%(ids)s) ORDER BY m.id FOR NO KEY UPDATE
)
UPDATE memory_logs m SET indexed_version = g.version, indexed_at = now()
FROM given g JOIN locked USING (id)
WHERE m.id = g.id AND m.version = g.version
RETURNING m.id
"""
# Not read from PostgreSQL: times are slow to parse, and neither the embedding nor the index has one of these.
DEFERRED = frozenset({"idempotency_key", "external_id", "expires_at", "created_at", "updated_at"})
BY_ID = "SELECT {columns} FROM memory_logs WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id"


def rows_by_id(ids: Iterable[int]) -> dict[int, MemoryLog]:
    """Return the memories with these ids that PostgreSQL has, by id, oldest first; without the DEFERRED fields."""
    rows = prepared.instances(MemoryLog, BY_ID, {"ids": list(ids)}, deferred=DEFERRED)
    return {row.id: row for row in rows}


def is_embedded(row: MemoryLog, generation: Generation) -> bool:
    """Tell whether the row's embedding is of its present text and of the generation's model."""
    return (
        row.embedding is not None
        and row.embedded_hash == row.content_hash
        and row.embedding_model == generation.model
        and len(row.embedding) == generation.dimensions
    )


@contextmanager
def derived_write() -> Iterator[None]:
    """Open a transaction for derived data, which does not wait for the disk.

    A crash of PostgreSQL can lose the last fraction of a second, latest commits first. The event's outcome is recorded
    after this transaction, so it is lost too, and the event is delivered again. Inside a transaction of the caller, the
    data is stored with that transaction, which waits for the disk as before.
    """
    own = own_transaction()
    with transaction.atomic(), connection.cursor() as cursor:
        if own:
            cursor.execute("SET LOCAL synchronous_commit TO off")
        yield


class Embedded(NamedTuple):
    """Rows and the vectors of their texts, before they are stored."""

    rows: Sequence[MemoryLog]
    vectors: Vectors
    model: str
    # Ids of the rows whose text is longer than the model reads.
    truncated: frozenset[int]


def embed(rows: Sequence[MemoryLog], generation: Generation) -> Embedded:
    """Embed the rows' texts by the generation's model. Slow: never call it inside a transaction.

    Raises Unavailable, Reject.
    """
    backend = generations.embedder(generation)
    texts = [text_of(row) for row in rows]
    truncated = (row.id for row, text in zip(rows, texts, strict=True) if is_truncated(text, backend))
    about: dict[str, str | int] = {"embedding.model": generation.model, "embedding.texts": len(texts)}
    with metrics.tracer.start_as_current_span("embed", attributes=about), metrics.embed_seconds.time():
        vectors = embed_documents(texts, backend)
    metrics.embedded_texts.inc(len(texts))
    return Embedded(rows, vectors, generation.model, frozenset(truncated))


def store(embedded: Embedded, events: Iterable[outbox.NewEvent] = ()) -> None:
    """Store each vector on its row, if the row's text is still the one that was embedded; publish the events."""
    rows, vectors, model, _ = embedded
    parameters: dict[str, Any] = {
        "ids": [row.id for row in rows],
        "hashes": [row.content_hash for row in rows],
        "numbers": Reals(vectors),
        "size": vectors.shape[1],
        "model": model,
    }
    outbox.publish_derived(STORE_EMBEDDINGS, parameters, events)


def mark_indexed(rows: Sequence[MemoryLog], events: Iterable[outbox.NewEvent] = ()) -> None:
    """Record on the rows the version that the index holds.

    Publishes those events whose aggregate is the memory of a row that is still at that version.
    """
    versions = {"ids": [row.id for row in rows], "versions": [row.version for row in rows]}
    outbox.publish_derived(MARK_INDEXED, versions, events, of_rows=True)


def text_of(row: MemoryLog) -> str:
    """Return the text of the memory that is embedded."""
    return searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
