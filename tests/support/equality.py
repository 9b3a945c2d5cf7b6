"""Whether the index is equal to PostgreSQL, row by row."""

from typing import Any

import pytest

from memories.index import generations
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.models import MemoryLog
from memories.tenants import Tenant
from memories.text import searchable_text
from tests.support.indexed import collection_of


def assert_equal_stores(tenant: Tenant) -> None:
    """Compare ids, documents, metadata and vectors. Every row must also record that its version is indexed."""
    rows = list(MemoryLog.objects.filter(user_id=tenant.user_id, project_id=tenant.project_id))
    held = _held(tenant)
    assert held.keys() == {document_id(row.id, tenant) for row in rows}
    for row in rows:
        document, metadata, vector = held[document_id(row.id, tenant)]
        assert document == searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
        assert metadata == metadata_of(row)
        assert vector == pytest.approx(row.embedding, abs=1e-6)
        assert row.indexed_version == row.version


def _held(tenant: Tenant) -> dict[str, tuple[Any, Any, Any]]:
    active = generations.of_tenant(tenant).active
    if active is None or active.chroma_id is None:  # nothing is indexed yet
        return {}
    held: Any = collection_of(tenant).get(include=["documents", "metadatas", "embeddings"])
    values = zip(held["documents"], held["metadatas"], held["embeddings"], strict=True)
    return dict(zip(held["ids"], values, strict=True))
