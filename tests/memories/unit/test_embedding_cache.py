"""Vectors asked for before are not asked for again."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from django.core.cache import caches
from pytest_django.fixtures import Settings

from memories import embeddings
from memories.embeddings import cache
from memories.embeddings.hashing import HashingBackend
from tests.support.free_port import free_port


class CountingBackend(HashingBackend):
    """Keeps what it was asked for."""

    cheap = False
    asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> embeddings.Vectors:
        self.asked.extend(texts)
        return super().embed_documents(texts)

    def embed_query(self, text: str) -> embeddings.Vectors:
        self.asked.append(f"query: {text}")
        return super().embed_query(text)


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    settings.EMBEDDING_BACKEND = f"{__name__}.{CountingBackend.__name__}"
    settings.EMBEDDING_DIMENSIONS = 64
    monkeypatch.setattr(cache, "_cache", cache._CountedCache())  # noqa: SLF001 - its counts start at nothing
    monkeypatch.setattr(CountingBackend, "asked", [])
    caches["embeddings"].clear()
    yield CountingBackend.asked
    caches["embeddings"].clear()


def counts() -> tuple[int, int]:
    statistics = embeddings.cache_statistics()
    return statistics["hits"], statistics["misses"]


def test_a_text_asked_for_again_is_not_embedded_again(asked: list[str]) -> None:
    first = embeddings.embed_documents(["one", "two"])
    again = embeddings.embed_documents(["two", "three", "one"])
    assert asked == ["one", "two", "three"]
    assert np.array_equal(again[[2, 0]], first)
    assert counts() == (2, 3)


def test_equal_texts_in_a_batch_are_embedded_once(asked: list[str]) -> None:
    vectors = embeddings.embed_documents(["one", "two", "one", "one"])
    assert asked == ["one", "two"]
    assert np.array_equal(vectors[[0, 0, 0]], vectors[[0, 2, 3]])
    assert not np.array_equal(vectors[0], vectors[1])


def test_a_query_is_not_a_document(asked: list[str]) -> None:
    document = embeddings.embed_documents(["one"])[0]
    assert not np.array_equal(embeddings.embed_query("one"), document)
    embeddings.embed_query("one")
    assert asked == ["one", "query: one"]


@pytest.mark.parametrize(("setting", "value"), [("EMBEDDING_MODEL", "another"), ("EMBEDDING_DIMENSIONS", 32)])
def test_another_model_or_other_dimensions_find_nothing(
    asked: list[str], settings: Settings, setting: str, value: object
) -> None:
    embeddings.embed_documents(["one"])
    setattr(settings, setting, value)
    vectors = embeddings.embed_documents(["one"])
    assert asked == ["one", "one"]
    assert vectors.shape == (1, settings.EMBEDDING_DIMENSIONS)


def test_the_statistics_tell_hits_misses_rate_and_entries(asked: list[str]) -> None:
    embeddings.embed_documents(["one", "two", "three"])
    embeddings.embed_documents(["three"])
    assert embeddings.cache_statistics() == {
        "enabled": True,
        "hits": 1,
        "misses": 3,
        "errors": 0,
        "hit_rate": 0.25,
        "entries": 3,
    }


def test_a_vector_takes_four_bytes_a_dimension(asked: list[str]) -> None:
    embeddings.embed_documents(["one"])
    backend = embeddings.get_backend()
    stored = caches["embeddings"].get(cache._key(backend, "document", "one"))  # noqa: SLF001
    assert len(stored) == 4 * 64


def test_a_damaged_entry_is_a_miss(asked: list[str]) -> None:
    vector = embeddings.embed_documents(["one"])
    backend = embeddings.get_backend()
    caches["embeddings"].set(cache._key(backend, "document", "one"), b"short")  # noqa: SLF001
    assert np.array_equal(embeddings.embed_documents(["one"]), vector)
    assert asked == ["one", "one"]


def test_switched_off_it_is_neither_asked_nor_filled(asked: list[str], settings: Settings) -> None:
    settings.EMBEDDING_CACHE_ENABLED = False
    embeddings.embed_documents(["one"])
    embeddings.embed_documents(["one"])
    assert asked == ["one", "one"]
    assert embeddings.cache_statistics()["enabled"] is False
    assert embeddings.cache_statistics()["entries"] == 0


def test_it_is_passed_by_where_embedding_is_cheaper(asked: list[str], settings: Settings) -> None:
    settings.EMBEDDING_BACKEND = "hashing"
    embeddings.embed_documents(["one"])
    assert counts() == (0, 0)
    assert embeddings.cache_statistics()["entries"] == 0


def test_it_holds_no_more_than_its_size(asked: list[str], settings: Settings) -> None:
    assert settings.CACHES["embeddings"]["OPTIONS"]["MAX_ENTRIES"] == settings.EMBEDDING_CACHE_SIZE == 1000
    embeddings.embed_documents([f"text {number}" for number in range(1500)])
    entries = embeddings.cache_statistics()["entries"]
    assert entries is not None
    assert 500 < entries <= 1000


@pytest.fixture
def dead_redis(settings: Settings) -> None:
    shared = {
        "BACKEND": "memories.embeddings.stores.SharedCache",
        "LOCATION": f"redis://127.0.0.1:{free_port()}",
    }
    settings.CACHES = {**settings.CACHES, "embeddings": shared}


@pytest.mark.usefixtures("dead_redis")
def test_a_redis_that_is_down_is_a_miss_told_once_and_left_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMBEDDING_BACKEND = f"{__name__}.{CountingBackend.__name__}"
    monkeypatch.setattr(cache, "_cache", cache._CountedCache())  # noqa: SLF001
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert embeddings.embed_documents(["one"]).shape == (1, 768)
    assert embeddings.cache_statistics()["errors"] == 1
    assert embeddings.cache_statistics()["entries"] is None
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "The embedding cache failed and is not used for 10 s"
    ]
