"""The step of an erasure in Chroma."""

import time
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings

from memories.erasure.scope import tenants
from memories.index import collections, generations, orphans
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.indexing import fill, sync
from memories.models import Erasure, Generation, MemoryLog
from memories.tenants import Tenant

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

PAGE = 1_000


def note_freed_pages() -> None:
    """Leave a mark next to the folder of an embedded Chroma: its next start vacuums what deletions left there."""
    folder = Path(settings.CHROMADB_PATH)
    if folder.is_dir():
        folder.with_name(f"{folder.name}.erased").touch()


class Removed(NamedTuple):
    """How many documents there were, and whether none is left."""

    documents: int
    complete: bool


def remove(erasure: Erasure, *, seconds: float = inf) -> Removed:
    """Remove erased memories from Chroma for about so many seconds; another call continues. Raises Unavailable."""
    deadline = time.monotonic() + seconds
    removed = 0
    for tenant in tenants(erasure):
        if erasure.is_whole:
            documents, complete = _replace(tenant, erasure, deadline)
        else:
            documents, complete = _forget(tenant, erasure), True
        removed += documents
        if not complete or not _drop_retired(tenant, deadline):
            return Removed(removed, complete=False)
    return Removed(removed, complete=True)


def will_remove(tenant: Tenant) -> bool:
    """Whether an erasure that runs now removes the tenant's retired collections. Two at once would only do it twice."""
    running = Erasure.objects.filter(user_id=tenant.user_id, status=Erasure.Status.RUNNING)
    return running.filter(project_id__in=("", tenant.project_id)).exists()


def _forget(tenant: Tenant, erasure: Erasure) -> int:
    found = sum(len(_documents(erasure, made)) for made in generations.of_tenant(tenant).all)
    sync.forget({tenant: erasure.memory_log_ids})
    return found


def _replace(tenant: Tenant, erasure: Erasure, deadline: float) -> Removed:
    """Give the tenant a new collection with the memories that stay; it retires those that may have held others.

    Deleting the documents is not enough: Chroma keeps the name of every metadata key in the schema of the collection,
    and a key of raw_data may be a word.
    """
    live = generations.of_tenant(tenant)
    former = [made for made in live.all if _is_former(made, erasure)]
    if not former:
        return Removed(0, complete=True)
    begun = live.building if live.building and live.building not in former else None
    removed = 0 if begun else sum(_count_erased(made) for made in former)
    fill.fill([begun or generations.begin(tenant)], seconds=deadline - time.monotonic())
    left = generations.of_tenant(tenant).all
    return Removed(removed, complete=not any(_is_former(made, erasure) for made in left))


def _is_former(generation: Generation, erasure: Erasure) -> bool:
    return generation.pk <= (erasure.through_collection or 0)


def _count_erased(generation: Generation) -> int:
    """How many documents the collection has besides those of memories that stay."""
    staying = MemoryLog.objects.filter(**generation.tenant._asdict(), indexed_version__isnull=False).count()
    return max(0, collections.count(generation.collection) - staying)


def _drop_retired(tenant: Tenant, deadline: float) -> bool:
    """Delete the collections that were replaced, and that Chroma may still have. Returns whether all are gone."""
    for generation in _retired(tenant):
        if not collections.drop(generation.collection, seconds=deadline - time.monotonic()):
            return False
        generation.delete()
    return True


def _retired(tenant: Tenant) -> list[Generation]:
    return list(Generation.objects.filter(**tenant._asdict(), state=Generation.State.RETIRED))


def left(erasure: Erasure) -> int:
    """How many documents of erased memories Chroma still has. Raises Unavailable."""
    return sum(
        len(_documents(erasure, made))
        for tenant in tenants(erasure)
        for made in generations.of_tenant(tenant).all
    )


def has_retired(erasure: Erasure) -> bool:
    """Whether a collection was replaced since `remove`, by another erasure or a rebuild, and is still to be deleted."""
    return any(_retired(tenant) for tenant in tenants(erasure))


def _documents(erasure: Erasure, generation: Generation) -> list[str]:
    if erasure.is_whole:
        return orphans.find(generation)
    if generation.chroma_id is None:
        return []
    there = set(
        MemoryLog.objects.filter(id__in=erasure.memory_log_ids, **generation.tenant._asdict()).values_list(
            "id", flat=True
        )
    )
    ids = [document_id(id, generation.tenant) for id in erasure.memory_log_ids if id not in there]
    found: list[str] = []
    for start in range(0, len(ids), PAGE):
        found += with_collection(generation, partial(_held, ids=ids[start : start + PAGE]))
    return found


def _held(collection: "Collection", *, ids: list[str]) -> list[str]:
    return list(collection.get(ids=ids, include=[])["ids"])
