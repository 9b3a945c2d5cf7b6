"""What Chroma itself holds, asked directly."""

from typing import TYPE_CHECKING, Any

from memories.index import generations
from memories.index.client import get_client
from memories.index.ids import document_id
from memories.models import MemoryLog
from memories.tenants import Tenant

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection


def collection_of(tenant: Tenant) -> "Collection":
    """The collection that answers for the tenant."""
    active = generations.of_tenant(tenant).active
    assert active is not None
    return get_client().get_collection(active.collection, embedding_function=None)


def held(row: MemoryLog) -> dict[str, Any] | None:
    """The metadata and the document of one memory, None when it is not there."""
    found = collection_of(row.tenant).get(
        ids=[document_id(row.id, row.tenant)], include=["metadatas", "documents"]
    )
    if not found["ids"]:
        return None
    assert found["metadatas"] is not None
    assert found["documents"] is not None
    return {"document": found["documents"][0], **found["metadatas"][0]}
