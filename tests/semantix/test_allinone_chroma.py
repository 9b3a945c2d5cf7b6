"""A Chroma server over a folder: its data and its open files."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import StringIO
from pathlib import Path
from typing import Any

import chromadb
import psutil
import pytest
from chromadb.api import ClientAPI
from django.core.management import call_command
from django.core.management.base import CommandError

from semantix.allinone import chroma, chroma_database, vacuum
from semantix.allinone.chroma import ChromaServer
from semantix.allinone.errors import StartError
from semantix.allinone.service import Service

Start = Callable[..., ChromaServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(**options: int) -> ChromaServer:
            service = chroma.start(tmp_path / "chro ma", log=tmp_path / "log", **options)
            stack.callback(service.stop)
            return service

        yield start


def client(service: Service) -> ClientAPI:
    return chromadb.HttpClient(host="127.0.0.1", port=int(service.url.rpartition(":")[2]))


def fill(service: Service, collections: int) -> None:
    for number in range(collections):
        collection = client(service).create_collection(f"collection-{number}", embedding_function=None)
        collection.add(ids=["one"], embeddings=[[1.0, 2.0]])
        collection.query(query_embeddings=[[1.0, 2.0]], n_results=1)


def open_indexes(service: Service) -> int:
    return sum(file.path.endswith("data_level0.bin") for file in psutil.Process(service.pid).open_files())


def test_data_is_kept_from_start_to_start(start: Start) -> None:
    first = start()
    fill(first, 1)
    first.stop()
    assert not first.is_alive()
    assert client(start()).get_collection("collection-0", embedding_function=None).count() == 1


@pytest.mark.parametrize("former", ["delete", "wal"])
def test_its_database_waits_for_the_disk_once_a_transaction(start: Start, former: str) -> None:
    first = start()
    fill(first, 1)
    first.stop()
    set_journal_mode(first.folder, former)

    again = start()

    assert client(again).get_collection("collection-0", embedding_function=None).count() == 1
    fill_one(again)
    assert (again.folder / "chroma.sqlite3-wal").exists()


def test_its_database_finds_what_belongs_to_a_collection_by_indexes(start: Start) -> None:
    service = start()
    fill(service, 1)

    with closing(sqlite3.connect(service.folder / "chroma.sqlite3")) as store:
        assert plan(store, "SELECT id FROM segments WHERE collection = 'one'") == [
            "SEARCH segments USING INDEX semantix_segments_by_collection (collection=?)"
        ]
        assert plan(store, "SELECT id FROM embeddings_queue WHERE topic = 'one' AND seq_id > 1") == [
            "SEARCH embeddings_queue USING INDEX semantix_queue_by_topic (topic=? AND seq_id>?)"
        ]


def plan(store: sqlite3.Connection, query: str) -> list[str]:
    return [step for _, _, _, step in store.execute(f"EXPLAIN QUERY PLAN {query}")]


def test_a_busy_database_is_left_as_it_is(start: Start) -> None:
    service = start()
    with closing(sqlite3.connect(service.folder / "chroma.sqlite3")) as store:
        for name in chroma_database.INDEXES:
            store.execute(f"DROP INDEX {name}")
        store.execute("BEGIN IMMEDIATE")
        assert not chroma_database.create_indexes(service.folder)
    assert chroma_database.create_indexes(service.folder)
    fill(service, 1)


@pytest.mark.parametrize("is_new", [True, False])
def test_another_server_gets_the_same_log_and_indexes_by_a_command(
    start: Start, tmp_path: Path, is_new: bool
) -> None:
    folder = tmp_path / "new" / "index"
    if not is_new:
        former = start()
        fill(former, 1)
        former.stop()
        folder = former.folder
        set_journal_mode(folder, "delete")

    subprocess.run([sys.executable, "-m", "semantix.allinone.chroma_database", str(folder)], check=True)

    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        indexes = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert set(chroma_database.INDEXES) <= indexes


def set_journal_mode(folder: Path, mode: str) -> None:
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as store:
        assert store.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)


def fill_one(service: Service) -> None:
    client(service).create_collection("another", embedding_function=None).add(
        ids=["one"], embeddings=[[1.0, 2.0]]
    )


def test_it_keeps_at_most_the_given_number_of_collections_open(start: Start) -> None:
    service = start(open_collections=4)
    fill(service, 20)
    assert open_indexes(service) == 4


def test_a_folder_in_use_is_refused(start: Start) -> None:
    holder = start()
    with pytest.raises(StartError, match="is in use by process"):
        start()
    assert chroma.answers(holder.url)


def test_a_stopped_server_does_not_answer(start: Start) -> None:
    service = start()
    service.stop()
    assert not chroma.answers(service.url)


def test_a_deleted_folder_is_noticed_and_the_restarted_server_stores_data_again(start: Start) -> None:
    service = start()
    fill(service, 1)
    assert not service.has_lost_its_folder()

    shutil.rmtree(service.folder)
    assert service.has_lost_its_folder()
    url = service.url
    service.restart()

    assert not service.has_lost_its_folder()
    assert service.url == url
    fill(service, 1)


def test_a_replaced_folder_is_noticed_and_served_after_a_restart(start: Start) -> None:
    service = start()
    fill(service, 1)
    service.folder.rename(service.folder.with_name("former"))
    shutil.copytree(service.folder.with_name("former"), service.folder)

    assert service.has_lost_its_folder()
    service.restart()

    assert client(service).get_collection("collection-0", embedding_function=None).count() == 1


WORD = b"xylophone7431"


def holds_the_word(folder: Path) -> bool:
    return any(WORD in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def with_a_deleted_document(folder: Path) -> Path:
    """An index folder whose only document was deleted, and whose server has stopped."""
    server = chroma.start(folder, log=folder.with_name("log"))
    try:
        collection = client(server).create_collection(
            "words", configuration={"hnsw": {"sync_threshold": 1}}, embedding_function=None
        )
        collection.upsert(ids=["a"], embeddings=[[1.0, 0.0]], documents=[WORD.decode()])
        collection.delete(ids=["a"])
    finally:
        server.stop()
    return folder


def test_a_start_after_an_erasure_removes_deleted_text_from_the_files(tmp_path: Path) -> None:
    folder = with_a_deleted_document(tmp_path / "index")
    assert holds_the_word(folder)
    vacuum.erased_marker(folder).touch()

    server = chroma.start(folder, log=tmp_path / "log")

    try:
        assert not holds_the_word(folder)
        assert not vacuum.erased_marker(folder).exists()
        assert client(server).get_collection("words", embedding_function=None).count() == 0
    finally:
        server.stop()


def test_a_vacuum_clears_the_room_for_vectors_that_chroma_never_used(tmp_path: Path) -> None:
    folder = with_a_deleted_document(tmp_path / "index")
    server = chroma.start(folder, log=tmp_path / "log")
    try:
        words = client(server).get_collection("words", embedding_function=None)
        words.upsert(ids=["b", "c"], embeddings=[[1.0, 2.0], [2.0, 1.0]])
    finally:
        server.stop()
    # Chroma writes this room as malloc returns it: now and then it holds what the server had in memory before.
    [lengths] = folder.glob("*/length.bin")
    [vectors] = folder.glob("*/data_level0.bin")
    sizes = [lengths.stat().st_size, vectors.stat().st_size]
    # Three places are used, the deleted one included.
    for file, used in ((lengths, 3 * 4), (vectors, sizes[1] * 3 // (sizes[0] // 4))):
        content = file.read_bytes()
        file.write_bytes(content[:used] + WORD + content[used + len(WORD) : -len(WORD)] + WORD)

    vacuum.vacuum(folder, chroma.program())

    assert not holds_the_word(folder)
    assert [lengths.stat().st_size, vectors.stat().st_size] == sizes
    server = chroma.start(folder, log=tmp_path / "log")
    try:
        words = client(server).get_collection("words", embedding_function=None)
        found = words.query(query_embeddings=[[1.0, 2.1]], n_results=2)
        assert found["ids"] == [["b", "c"]]
    finally:
        server.stop()


def test_vacuum_index_wants_the_server_stopped(tmp_path: Path, settings: Any) -> None:
    folder = with_a_deleted_document(tmp_path / "index")
    settings.CHROMADB_PATH, settings.GIVEN = folder, settings.GIVEN - {"CHROMA_URL"}
    server = chroma.start(folder, log=tmp_path / "log")
    try:
        with pytest.raises(CommandError, match="is in use by process"):
            call_command("vacuum_index")
    finally:
        server.stop()

    call_command("vacuum_index", stdout=StringIO())

    assert not holds_the_word(folder)


def test_vacuum_index_takes_the_folder_of_another_server(tmp_path: Path, settings: Any) -> None:
    folder = with_a_deleted_document(tmp_path / "index")
    settings.GIVEN = settings.GIVEN | {"CHROMA_URL"}
    with pytest.raises(CommandError, match="vacuum_index --folder FOLDER` on its machine"):
        call_command("vacuum_index")

    call_command("vacuum_index", "--folder", str(folder), stdout=StringIO())

    assert not holds_the_word(folder)
