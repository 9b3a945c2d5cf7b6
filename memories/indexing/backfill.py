"""Embedding what has no embedding of its tenant's model: rows that came by SQL, dead letters, a new model."""

from collections.abc import Iterator
from functools import partial

from django.db.models import F, Func, IntegerField, Q, QuerySet

import outbox
from memories.index import generations
from memories.indexing import fill, repair
from memories.models import Generation, MemoryLog
from memories.tenants import Scope


def lacking(target: Generation) -> "QuerySet[MemoryLog]":
    """The tenant's memories whose embedding is not there, of a former text, or not of the target's model."""
    length = Func(F("embedding"), function="vector_dims", output_field=IntegerField())
    return MemoryLog.objects.alias(length=length).filter(
        Q(embedding=None)
        | ~Q(embedded_hash=F("content_hash"))
        | ~Q(embedding_model=target.model)
        | ~Q(length=target.dimensions),
        **target.tenant._asdict(),
    )


def targets(scope: Scope) -> list[Generation]:
    """Each tenant's collection, or the one that is to take its place."""
    return [live.write_target for live in generations.get_or_create(scope.tenants()).values()]


def count(scope: Scope) -> int:
    return sum(lacking(target).count() for target in targets(scope))


def run(scope: Scope, tally: fill.FillProgress) -> None:
    """Embed them, the newest first, and have them indexed; what was done is kept, whatever happens then.

    The newest first because a new model's collection is filled from the oldest on, by the cluster: both meet, and
    little is embedded twice. Raises Unavailable.
    """
    for target in targets(scope):
        for rows in _batches(target):
            tally.embedded += fill.embed(rows, target, stored=partial(_have_indexed, target, rows))
            tally.memories += len(rows)
            tally.advance(len(rows))


def _batches(target: Generation) -> Iterator[list[MemoryLog]]:
    before: int | None = None
    while True:
        rows = lacking(target).order_by("-id")
        batch = list((rows if before is None else rows.filter(id__lt=before))[: fill.EMBEDDED_AT_ONCE])
        if not batch:
            return
        yield batch
        before = batch[-1].id


def _have_indexed(target: Generation, rows: list[MemoryLog]) -> None:
    # A collection that is being built comes to each row by itself.
    if target.state == Generation.State.ACTIVE:
        outbox.publish_many(repair.outdated(row) for row in rows)
