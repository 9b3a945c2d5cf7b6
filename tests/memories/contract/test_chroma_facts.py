"""What a real Chroma server does that the index is built around; a newer server that differs fails here."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from memories.embeddings.backend import Vectors
from memories.index import generations, upsert
from memories.index.client import _clients, connect, get_client
from memories.index.collections import CollectionLost, IndexMismatch, drop, with_collection
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.models import Event
from outbox.queue.circuits import close_circuit
from outbox.testing import drain
from tests.support.chroma_server import own_chroma
from tests.support.equality import assert_equal_stores
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def generation_of(tenant: Tenant) -> Generation:
    return generations.get_or_create([tenant])[tenant].write_target


def memories(tenant: Tenant, count: int = 1, **fields: object) -> list[MemoryLog]:
    """Rows as they would be read, with ids of their own."""
    given = {"task": "Fix the login", "agent": "coder", "content_hash": "h", **fields}
    return [
        MemoryLog(id=number, user_id=tenant.user_id, project_id=tenant.project_id, **given)
        for number in range(1, count + 1)
    ]


def vectors(count: int = 1, dimensions: int = 768) -> Vectors:
    made: Vectors = np.random.default_rng(1).standard_normal((count, dimensions)).astype(np.float32)
    return made


def ids(generation: Generation) -> list[str]:
    return with_collection(generation, lambda collection: list(collection.get(include=[])["ids"]))


def test_distances_are_cosine() -> None:
    generation = generation_of(new_tenant())
    vector = vectors()
    upsert.upsert(generation, memories(generation.tenant), vector)

    found = with_collection(
        generation, lambda collection: collection.query(query_embeddings=-3 * vector, n_results=1)
    )

    assert found["distances"] is not None
    assert found["distances"][0][0] == pytest.approx(2.0, abs=1e-5)


def test_vectors_that_are_sent_as_their_bytes_are_held_as_those_that_chromadb_writes() -> None:
    generation, given = generation_of(new_tenant()), vectors(3)

    def held(form: Any) -> Any:
        def write(collection: Any) -> Any:
            names = [f"{form.__name__} {number}" for number in range(3)]
            collection.upsert(ids=names, embeddings=form(given), documents=names)
            return collection.get(ids=names, include=["embeddings"])["embeddings"]

        return with_collection(generation, write, create=True)

    assert np.array_equal(held(np.asarray), held(np.ndarray.tolist))


def test_no_embedding_function_is_made_which_would_download_a_model() -> None:
    generation = generation_of(new_tenant())

    assert with_collection(generation, lambda c: c._embedding_function, create=True) is None  # noqa: SLF001


def test_a_metadata_key_that_a_memory_no_longer_has_leaves_the_index() -> None:
    generation = generation_of(new_tenant())
    [row] = memories(generation.tenant)
    upsert.upsert(generation, [row], vectors())
    document = ids(generation)[0]
    with_collection(generation, lambda c: c.update(ids=[document], metadatas=[{"former": "x"}]))

    row.version = 2
    upsert.upsert(generation, [row], vectors())

    [held] = with_collection(generation, lambda c: c.get(include=["metadatas"])["metadatas"]) or [None]
    assert held is not None
    assert held["version"] == 2
    assert "former" not in held


def test_a_thorough_write_takes_away_what_an_earlier_release_left_on_rows_never_changed() -> None:
    generation = generation_of(new_tenant())
    rows = memories(generation.tenant)
    upsert.upsert(generation, rows, vectors())
    document = ids(generation)[0]
    with_collection(generation, lambda c: c.update(ids=[document], metadatas=[{"former": "x"}]))

    upsert.upsert(generation, rows, vectors(), remove_extra=True)

    [held] = with_collection(generation, lambda c: c.get(include=["metadatas"])["metadatas"]) or [None]
    assert held is not None
    assert "former" not in held


def test_more_rows_than_one_call_takes_are_written(settings: Settings) -> None:
    settings.EMBEDDING_DIMENSIONS = 8
    generation = generation_of(new_tenant())
    count = 5_500

    upsert.upsert(generation, memories(generation.tenant, count), vectors(count, generation.dimensions))

    assert with_collection(generation, lambda collection: collection.count()) == count


def test_more_bytes_than_one_call_takes_are_written() -> None:
    generation = generation_of(new_tenant())
    rows = memories(generation.tenant, 12, agent="x" * 4_000_000)

    upsert.upsert(generation, rows, vectors(12))

    assert len(ids(generation)) == 12


def test_deleting_what_is_not_there_is_no_error() -> None:
    generation = generation_of(new_tenant())
    upsert.delete(generation, [1, 2])
    upsert.upsert(generation, memories(generation.tenant, 2), vectors(2))

    for _ in range(2):
        upsert.delete(generation, [1])

    assert len(ids(generation)) == 1


def test_a_collection_of_another_tenant_under_our_name_is_noticed() -> None:
    generation = generation_of(new_tenant())
    get_client().create_collection(
        generation.collection,
        metadata={"user_id": "mallory", "project_id": "x", "embedding_model": "m", "dimensions": 3},
        embedding_function=None,
    )

    with pytest.raises(IndexMismatch, match=r"mallory.*rebuild_index --recreate"):
        upsert.upsert(generation, memories(generation.tenant), vectors())


def test_a_handle_of_a_collection_made_anew_since_is_replaced() -> None:
    generation = generation_of(new_tenant())
    upsert.upsert(generation, memories(generation.tenant), vectors())
    other_process = Generation.objects.get(pk=generation.pk)
    drop(generation.collection)
    assert generations.restart_build(other_process)
    other_process.refresh_from_db()
    made = get_client().create_collection(generation.collection, embedding_function=None)
    assert generations.record_created(other_process, made.id)

    upsert.upsert(generation, memories(generation.tenant), vectors())

    assert generation.chroma_id == made.id
    assert made.count() == 1


def test_a_collection_that_is_gone_is_told_from_one_never_made() -> None:
    generation = generation_of(new_tenant())
    upsert.upsert(generation, memories(generation.tenant), vectors())
    drop(generation.collection)

    with pytest.raises(CollectionLost, match="has to be rebuilt"):
        upsert.upsert(generation, memories(generation.tenant), vectors())


@pytest.fixture
def mute_server() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_mute_server_does_not_hold_the_constructor_up(mute_server: str) -> None:
    with pytest.raises(ValueError, match="timed out"):
        connect(mute_server, timeout=0.3)


def test_a_server_that_falls_mute_is_unavailable_after_the_timeout(
    settings: Settings, tmp_path: Path
) -> None:
    settings.CHROMA_TIMEOUT_SECONDS = 5.0
    with own_chroma(tmp_path, settings) as server:
        generation = generation_of(new_tenant())
        upsert.upsert(generation, memories(generation.tenant), vectors())
        with server.mute(), pytest.raises(Unavailable, match="timed out"):
            ids(generation)
        assert len(ids(generation)) == 1


def test_a_restarted_server_is_spoken_to_again(settings: Settings, tmp_path: Path) -> None:
    with own_chroma(tmp_path, settings) as server:
        generation = generation_of(new_tenant())
        upsert.upsert(generation, memories(generation.tenant), vectors())
        server.stop()
        with pytest.raises(Unavailable):
            ids(generation)

        server.start()

        assert len(ids(generation)) == 1


def test_a_folder_deleted_under_the_running_server_is_no_fault_of_an_event(
    settings: Settings, tmp_path: Path
) -> None:
    tenant = new_tenant()
    with own_chroma(tmp_path, settings) as server:
        remember(tenant)
        shutil.rmtree(server.folder)
        # Chroma goes on in the deleted files where it has them open, and cannot open others.
        for _ in range(4):
            remember(tenant)
            assert list(Event.objects.filter(status="dead").values_list("type", "last_error")) == []
            blamed = Event.objects.filter(status="pending", attempts__gt=0)
            assert list(blamed.values_list("type", "attempts", "last_error")) == []
        server.stop()
        server.start()
        remember(tenant)

        assert_equal_stores(tenant)


def remember(tenant: Tenant) -> None:
    """Create a memory and deliver all events, as far as Chroma answers."""
    create_memory(NewMemory(**tenant._asdict(), task="Fix bug", agent="ada"))
    close_circuit("chroma")
    drain(through_backoff=True)


def test_what_the_server_closed_to_keep_its_memory_bounded_is_whole_when_it_opens_it_again(
    settings: Settings, tmp_path: Path
) -> None:
    with own_chroma(tmp_path, settings, open_collections=2):
        several = [generation_of(new_tenant()) for _ in range(4)]
        for generation in several:
            upsert.upsert(generation, memories(generation.tenant, 3), vectors(3))

        for _ in range(3):  # each search closes what was open for the ones before
            assert [len(nearest_of(generation)) for generation in several] == [3, 3, 3, 3]

        for generation in several:
            upsert.upsert(generation, memories(generation.tenant, 4), vectors(4))
        for _ in range(2):
            assert [len(nearest_of(generation)) for generation in several] == [4, 4, 4, 4]


def nearest_of(generation: Generation) -> list[str]:
    found = with_collection(generation, lambda c: c.query(query_embeddings=vectors(), n_results=10))
    return list(found["ids"][0])


def test_a_forked_child_does_not_speak_on_its_parents_connection() -> None:
    parent = get_client()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, b"own" if not _clients else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"own"
    os.close(reader)
    os.close(writer)
    assert get_client() is parent
