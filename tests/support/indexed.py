"""Reads what Chroma holds, without the code under test."""

from typing import TYPE_CHECKING, Any

from memories.index import generations
from memories.index.client import get_client
from memories.index.ids import document_id
from memories.models import MemoryLog
from memories.tenants import Tenant

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


def collection_of(tenant: Tenant) -> "Collection":
    """The active collection of the tenant."""
    active = generations.of_tenant(tenant).active
    assert active is not None
    return get_client().get_collection(active.collection, embedding_function=None)


def held(row: MemoryLog) -> dict[str, Any] | None:
    """The metadata of one memory, and its text as `document`. None when Chroma does not have it."""
    found = collection_of(row.tenant).get(
        ids=[document_id(row.id, row.tenant)], include=["metadatas", "documents"]
    )
    if not found["ids"]:
        return None
    assert found["metadatas"] is not None
    assert found["documents"] is not None
    return {"document": found["documents"][0], **found["metadatas"][0]}
