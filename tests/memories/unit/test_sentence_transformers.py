"""How the backend speaks to sentence-transformers.

The library and its models are gigabytes and not installed for the tests: a stand-in with the signatures of its class
takes its place. docs/explanation/embeddings.md says what was tried with the real one.
"""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from numpy.typing import NDArray
from pytest_django.fixtures import Settings

from memories import embeddings
from memories.embeddings.sentence_transformers import SentenceTransformersBackend
from outbox.exceptions import Unavailable


class Tokenizer:
    """A token a character, and two special ones."""

    def num_special_tokens_to_add(self) -> int:
        return 2

    def __call__(self, text: str, **options: bool) -> dict[str, list[tuple[int, int]]]:
        assert options["return_offsets_mapping"]
        assert not options["truncation"]
        return {"offset_mapping": [(place, place + 1) for place in range(len(text))]}


class SentenceTransformer:
    loaded: list[str] = []
    tokenizer = Tokenizer()
    max_seq_length = 12

    def __init__(self, model_name_or_path: str) -> None:
        if model_name_or_path == "no/such-model":
            raise OSError("We couldn't connect to the hub")
        self.loaded.append(model_name_or_path)

    def encode_document(self, sentences: list[str], *, show_progress_bar: bool) -> NDArray[np.float32]:
        return np.array([[1.0, len(text), 0.0] for text in sentences], dtype=np.float32)

    def encode_query(self, sentences: str, *, show_progress_bar: bool) -> NDArray[np.float32]:
        return np.array([1.0, len(sentences), 1.0], dtype=np.float32)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[SentenceTransformer]:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="sentence_transformers")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    monkeypatch.setattr(SentenceTransformer, "loaded", [])
    return SentenceTransformer


def test_without_the_extra_the_command_that_installs_it_is_told() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"pip install .* -r requirements-sentence-transformers\.txt"
    ):
        SentenceTransformersBackend()


def test_documents_and_queries_are_told_apart_and_normalised(
    library: type[SentenceTransformer], settings: Settings
) -> None:
    settings.EMBEDDING_BACKEND = "sentence-transformers"
    settings.EMBEDDING_MODEL = "/models/tiny"
    settings.EMBEDDING_DIMENSIONS = 3
    settings.EMBEDDING_CACHE_ENABLED = False
    assert embeddings.embed_documents(["a", "abc"]) == pytest.approx(
        np.array([[1, 1, 0], [1, 3, 0]]) / np.sqrt([[2], [10]])
    )
    assert embeddings.embed_query("ab") == pytest.approx(np.array([1, 2, 1]) / 6**0.5)
    assert library.loaded == ["/models/tiny"]


def test_the_model_is_loaded_at_the_first_embedding_only(library: type[SentenceTransformer]) -> None:
    backend = SentenceTransformersBackend(model="/models/tiny", dimensions=3)
    assert library.loaded == []
    backend.embed_query("a")
    backend.embed_query("b")
    assert library.loaded == ["/models/tiny"]


def test_a_text_is_cut_after_the_last_token_the_model_reads(library: type[SentenceTransformer]) -> None:
    backend = SentenceTransformersBackend(dimensions=3)
    assert backend.fit("ten letter") == "ten letter"
    assert backend.fit("ten letters") == "ten letter"


@pytest.mark.parametrize(
    "use", [lambda backend: backend.embed_query("a"), lambda backend: backend.embed_documents(["a"])]
)
def test_a_model_that_cannot_be_loaded_waits_for_a_person(
    library: type[SentenceTransformer], use: Callable[[SentenceTransformersBackend], Any]
) -> None:
    with pytest.raises(
        Unavailable, match=r"'no/such-model' cannot be loaded: check EMBEDDING_MODEL. We couldn't"
    ):
        use(SentenceTransformersBackend(model="no/such-model", dimensions=3))
