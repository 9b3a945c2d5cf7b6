"""The step of an erasure in Chroma."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from memories.erasure.scope import tenants
from memories.index import generations, orphans
from memories.index.collections import with_collection
from memories.index.ids import document_id
from memories.indexing import sync
from memories.models import Erasure, Generation, MemoryLog

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

PAGE = 1_000


def note_freed_pages() -> None:
    """Leave a mark beside the folder of an embedded Chroma: its next start vacuums what deletions left there."""
    folder = Path(settings.CHROMADB_PATH)
    if folder.is_dir():
        folder.with_name(f"{folder.name}.erased").touch()


def remove(erasure: Erasure) -> int:
    """Delete the documents of erased memories; returns how many there were. Raises Unavailable.

    For a whole user or project these are all documents whose memory PostgreSQL does not have: the steps before have
    deleted the rows. So documents that an earlier fault left behind go as well.
    """
    removed = 0
    for tenant in tenants(erasure):
        for generation in generations.of_tenant(tenant).all:
            documents = _documents(erasure, generation)
            removed += len(documents)
            if not erasure.is_whole:
                sync.forget(tenant, erasure.memory_log_ids)
            else:
                orphans.delete(generation, documents)
    return removed


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
