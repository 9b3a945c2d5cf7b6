"""The step of an erasure in Chroma."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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


def remove(erasure: Erasure) -> int:
    """Remove erased memories from Chroma; returns how many documents there were. Raises Unavailable."""
    removed = 0
    for tenant in tenants(erasure):
        for generation in generations.of_tenant(tenant).all:
            removed += len(_documents(erasure, generation))
        if erasure.is_whole:
            _replace(tenant, erasure)
        else:
            sync.forget(tenant, erasure.memory_log_ids)
    return removed


def _replace(tenant: Tenant, erasure: Erasure) -> None:
    """Give the tenant a new collection with the memories that stay, and drop the collections made before the request.

    Deleting the documents is not enough: Chroma keeps the name of every metadata key in the schema of the collection,
    and a key of raw_data may be a word.
    """
    former = [made for made in generations.of_tenant(tenant).all if made.created_at < erasure.requested_at]
    if former:
        fill.fill([generations.begin(tenant)])
    for generation in former:
        collections.drop(generation.collection)


def left(erasure: Erasure) -> int:
    """How many documents of erased memories Chroma still has. Raises Unavailable."""
    return sum(
        len(_documents(erasure, generation))
        for tenant in tenants(erasure)
        for generation in generations.of_tenant(tenant).all
    )


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
