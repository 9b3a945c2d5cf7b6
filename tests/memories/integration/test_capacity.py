"""More collections than Chroma keeps open: a new one is not taken for damaged, and what is written is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.embeddings.backend import Vectors
from memories.index import capacity, upsert
from memories.index.client import get_client
from memories.index.collections import CollectionEmpty, check_collection, with_collection
from memories.index.generations import get_or_create
from memories.models import Generation
from memories.records.services import NewMemory, create_memories
from memories.search.search import Query, search
from outbox.models import Event
from outbox.testing import drain
from tests.support.chroma_server import own_chroma
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _counted_again() -> None:
    capacity.reset()


def empty_collection() -> Generation:
    tenant = new_tenant()
    generation = get_or_create([tenant])[tenant].write_target
    check_collection(generation, create=True)
    generation.refresh_from_db()
    return generation


def use(generation: Generation) -> Vectors:
    """Write a document and take it away again."""
    vector = np.ones((1, generation.dimensions), dtype=np.float32)
    with_collection(generation, lambda c: c.upsert(ids=["x"], embeddings=vector))
    with_collection(generation, lambda c: c.delete(ids=["x"]))
    return vector


def test_an_empty_collection_that_chroma_closed_is_not_damaged(tmp_path: Path, settings: Any) -> None:
    with own_chroma(tmp_path, settings, open_collections=2):
        generation = empty_collection()
        vector = use(generation)
        for _ in range(6):
            other = empty_collection()
            use(other)
            check_collection(other)

        with pytest.raises(CollectionEmpty):  # Chroma: "Nothing found on disk"
            with_collection(generation, lambda c: c.query(query_embeddings=vector, n_results=1))
        assert check_collection(generation) is False
        assert search(Query(tenant=generation.tenant, text="anything")) == []

    assert not Event.objects.filter(type="index.fill").exists()


def test_a_first_document_that_arrives_between_query_and_count_is_no_damage(monkeypatch: Any) -> None:
    """The soak found it: a search of a tenant whose only memory was being written had its collection filled again."""
    generation = empty_collection()
    use(generation)
    collection_class = type(get_client().get_or_create_collection("any", embedding_function=None))
    original = collection_class.count

    def count(collection: Any) -> int:
        vector = np.ones((1, generation.dimensions), dtype=np.float32)
        collection.upsert(ids=["first"], embeddings=vector)
        return int(original(collection))

    monkeypatch.setattr(collection_class, "count", count)

    assert check_collection(generation) is True


def test_the_room_fits_the_machine_and_can_be_set(settings: Any) -> None:
    assert capacity.LEAST <= capacity.open_collections() <= capacity.MOST
    settings.CHROMA_OPEN_COLLECTIONS = 7
    assert capacity.open_collections() == 7


def test_more_collections_than_fit_are_noticed_and_logged(settings: Any, caplog: Any) -> None:
    settings.CHROMA_OPEN_COLLECTIONS = 1
    empty_collection()
    capacity.reset()
    assert not capacity.is_exceeded()
    empty_collection()
    capacity.reset()

    assert capacity.is_exceeded()
    assert "CHROMA_OPEN_COLLECTIONS" in caplog.text


def test_beyond_the_room_a_lost_vector_is_written_again(settings: Any, monkeypatch: Any) -> None:
    """The collection forgets the first write, as Chroma does when it closes a collection at that moment."""
    settings.CHROMA_OPEN_COLLECTIONS = 1
    empty_collection()
    tenant = new_tenant()
    [row] = create_memories([NewMemory(**tenant._asdict(), task="kept", agent="ada")])
    capacity.reset()
    collection_class = type(get_client().get_or_create_collection("any", embedding_function=None))
    written = []
    original = collection_class.upsert

    def lossy(collection: Any, *arguments: Any, **options: Any) -> Any:
        result = original(collection, *arguments, **options)
        written.append(options["ids"])
        if len(written) == 1:
            collection.delete(ids=options["ids"])
        return result

    monkeypatch.setattr(collection_class, "upsert", lossy)
    drain()

    assert len(written) == 2
    assert [hit.memory_log_id for hit in search(Query(tenant=tenant, text="kept"))] == [row.id]
    assert upsert.READ_BACKS > 1
