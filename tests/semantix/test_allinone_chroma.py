"""A Chroma server over a folder: what it keeps, how much it opens."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import chromadb
import psutil
import pytest
from chromadb.api import ClientAPI

from semantix.allinone import chroma
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


def test_it_keeps_only_so_many_collections_open(start: Start) -> None:
    service = start(open_collections=4)
    fill(service, 20)
    assert open_indexes(service) == 4


def test_a_folder_in_use_is_refused(start: Start) -> None:
    holder = start()
    with pytest.raises(StartError, match="is in use by process"):
        start()
    assert chroma.answers(holder.url)


def test_a_server_that_is_gone_does_not_answer(start: Start) -> None:
    service = start()
    service.stop()
    assert not chroma.answers(service.url)


def test_a_deleted_folder_is_noticed_and_the_restarted_server_keeps_data_again(start: Start) -> None:
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


def test_a_folder_put_in_the_place_of_the_former_is_noticed_and_served(start: Start) -> None:
    service = start()
    fill(service, 1)
    service.folder.rename(service.folder.with_name("former"))
    shutil.copytree(service.folder.with_name("former"), service.folder)

    assert service.has_lost_its_folder()
    service.restart()

    assert client(service).get_collection("collection-0", embedding_function=None).count() == 1
