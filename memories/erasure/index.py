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
        for generation in generations.of_tenant(tenant).all:
            removed += len(_documents(erasure, generation))
        if erasure.is_whole:
            _replace(tenant, erasure)
        else:
            sync.forget(tenant, erasure.memory_log_ids)
        for generation in _retired(tenant):
            if not collections.drop(generation.collection, seconds=deadline - time.monotonic()):
                return Removed(removed, complete=False)
    return Removed(removed, complete=True)


def _replace(tenant: Tenant, erasure: Erasure) -> None:
    """Give the tenant a new collection with the memories that stay; it retires those made before the request.

    Deleting the documents is not enough: Chroma keeps the name of every metadata key in the schema of the collection,
    and a key of raw_data may be a word.
    """
    if any(made.created_at < erasure.requested_at for made in generations.of_tenant(tenant).all):
        fill.fill([generations.begin(tenant)])


def _retired(tenant: Tenant) -> list[Generation]:
    """Collections that were replaced, and that Chroma may still have."""
    return list(Generation.objects.filter(**tenant._asdict(), state=Generation.State.RETIRED))


def left(erasure: Erasure) -> int:
    """How many documents of erased memories Chroma still has. Raises Unavailable."""
    found = 0
    for tenant in tenants(erasure):
        found += sum(len(_documents(erasure, made)) for made in generations.of_tenant(tenant).all)
        found += sum(collections.count(made.collection) for made in _retired(tenant))
    return found


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
