"""What every embedding backend keeps, the shipped ones and a user's own."""

from collections.abc import Sequence

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from memories import embeddings
from memories.embeddings.selection import BACKENDS
from tests.support.google_api import GoogleAPI


class LetterCounts:
    """A user's own backend: nothing but the four names of the protocol, and plain lists."""

    def __init__(self, model: str, dimensions: int) -> None:
        self.model = model or "letters"
        self.dimensions = dimensions

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        counts = [1e-3] * self.dimensions
        for letter in text.lower():
            counts[ord(letter) % self.dimensions] += 1.0
        return counts


OWN = f"{__name__}.{LetterCounts.__name__}"
# sentence-transformers needs a model of gigabytes: tests/memories/unit/test_sentence_transformers.py.
IN_REACH = [name for name in BACKENDS if name != "sentence-transformers"]
# Those of minilm's model. The other backends make vectors of any length.
DIMENSIONS = 384


@pytest.fixture(params=[*IN_REACH, OWN])
def backend(
    request: pytest.FixtureRequest, google: GoogleAPI, settings: Settings
) -> embeddings.EmbeddingBackend:
    settings.EMBEDDING_BACKEND = request.param
    settings.EMBEDDING_MODEL = ""
    settings.EMBEDDING_DIMENSIONS = DIMENSIONS
    return embeddings.get_backend()


TEXTS = [
    "Cache expired too early",
    "Der Zug fährt um acht",
    "東京タワーに行きました",
    "deploy failed: exit 137 💥",
]


def test_it_names_its_model_and_has_the_dimensions_it_was_given(
    backend: embeddings.EmbeddingBackend,
) -> None:
    assert backend.model
    assert backend.dimensions == DIMENSIONS


def test_documents_become_unit_vectors_in_their_order(backend: embeddings.EmbeddingBackend) -> None:
    vectors = embeddings.embed_documents(TEXTS)
    assert vectors.shape == (4, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    assert embeddings.embed_documents(TEXTS[::-1]) == pytest.approx(vectors[::-1], abs=1e-6)


def test_a_text_is_nearest_to_a_query_of_its_own_words(backend: embeddings.EmbeddingBackend) -> None:
    documents = embeddings.embed_documents(TEXTS)
    for place, text in enumerate(TEXTS):
        assert int(np.argmax(documents @ embeddings.embed_query(text))) == place


def test_a_query_is_one_unit_vector(backend: embeddings.EmbeddingBackend) -> None:
    vector = embeddings.embed_query("cache")
    assert vector.shape == (DIMENSIONS,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)


def test_a_text_has_the_same_vector_alone_and_in_a_large_batch(backend: embeddings.EmbeddingBackend) -> None:
    texts = [f"memory number {number}" for number in range(250)]
    together = embeddings.embed_documents(texts)
    assert together.shape == (250, DIMENSIONS)
    for place in (0, 99, 100, 249):
        assert embeddings.embed_documents([texts[place]])[0] == pytest.approx(together[place], abs=1e-6)


def test_no_texts_make_no_vectors(backend: embeddings.EmbeddingBackend) -> None:
    assert embeddings.embed_documents([]).shape == (0, DIMENSIONS)


def test_a_very_long_text_has_a_vector(backend: embeddings.EmbeddingBackend) -> None:
    assert embeddings.embed_documents(["wonderful words 42 " * 5_000]).shape == (1, DIMENSIONS)
