"""Embedding memories that have no embedding of their tenant's model: rows by SQL, dead letters, a new model."""

import logging
from collections.abc import Iterator
from functools import partial

from django.db.models import F, Func, IntegerField, Q, QuerySet

import outbox
from memories.index import generations
from memories.index.collections import CollectionUnusable
from memories.indexing import fill, isolation, repair
from memories.models import Generation, MemoryLog
from memories.tenants import Scope

logger = logging.getLogger(__name__)


def without_embedding(target: Generation) -> "QuerySet[MemoryLog]":
    """Return the tenant's memories whose embedding is missing, of a former text, or of another model."""
    length = Func(F("embedding"), function="vector_dims", output_field=IntegerField())
    return MemoryLog.objects.alias(length=length).filter(
        Q(embedding=None)
        | ~Q(embedded_hash=F("content_hash"))
        | ~Q(embedding_model=target.model)
        | ~Q(length=target.dimensions),
        **target.tenant._asdict(),
    )


def targets(scope: Scope) -> list[Generation]:
    """Return each tenant's collection, or the one being built to replace it."""
    return [live.write_target for live in generations.get_or_create(scope.tenants()).values()]


def count(scope: Scope) -> int:
    """Return how many memories in the scope need an embedding."""
    return sum(without_embedding(target).count() for target in targets(scope))


def run(scope: Scope, progress: fill.FillProgress) -> None:
    """Embed these memories, newest first, and publish the events that index them. Each batch is kept.

    Newest first, because the cluster fills a new model's collection from the oldest on: the two meet, and little is
    embedded twice. A tenant whose memories cannot be embedded does not stop the others: its error is raised at the
    end. Raises Unavailable, CollectionUnusable.
    """
    unusable: list[CollectionUnusable] = []
    for target in targets(scope):
        try:
            with isolation.named(target):
                _embed_all(target, progress)
        except CollectionUnusable as error:
            logger.error("The memories of %s cannot be embedded: %s", error.generation, error.loggable)
            unusable.append(error)
    for first in unusable:
        raise first


def _embed_all(target: Generation, progress: fill.FillProgress) -> None:
    for rows in _batches(target):
        fill.embed(rows, target, progress, on_stored=partial(_publish_outdated, target, rows))
        progress.memories += len(rows)
        progress.advance(len(rows))


def _batches(target: Generation) -> Iterator[list[MemoryLog]]:
    before: int | None = None
    while True:
        rows = without_embedding(target).order_by("-id")
        batch = list((rows if before is None else rows.filter(id__lt=before))[: fill.EMBED_BATCH])
        if not batch:
            return
        yield batch
        before = batch[-1].id


def _publish_outdated(target: Generation, rows: list[MemoryLog]) -> None:
    # The filling of a collection that is being built reaches each row by itself.
    if target.state == Generation.State.ACTIVE:
        outbox.publish_many(repair.outdated(row) for row in rows)
