"""The extra `minilm`: the real model, run by onnxruntime."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from memories.embeddings import minilm
from memories.embeddings.minilm import MiniLMBackend
from outbox import Unavailable
from tests.support.paraphrases import PAIRS

backend = MiniLMBackend()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_paraphrase_is_nearest_to_its_sentence() -> None:
    documents = unit(backend.embed_documents([meant for meant, _ in PAIRS]))
    queries = unit(np.stack([backend.embed_query(asked) for _, asked in PAIRS]))

    first = (queries @ documents.T).argmax(axis=1)

    assert np.mean(first == np.arange(len(PAIRS))) >= 0.9


def test_a_text_has_the_same_vector_in_a_batch_as_alone() -> None:
    texts = ["short", "a much longer text about the invoice of October " * 20, "", "another one"]

    together = backend.embed_documents(texts)

    assert np.array_equal(np.stack([backend.embed_query(text) for text in texts]), together)


def test_a_long_text_is_cut_where_the_model_stops_reading() -> None:
    words = "word " * 1_000

    assert len(backend.fit(words).split()) == minilm.MAX_TOKENS - 2
    assert backend.fit("a short text") == "a short text"


def test_other_dimensions_are_refused_with_the_right_number() -> None:
    with pytest.raises(ImproperlyConfigured, match="Set EMBEDDING_DIMENSIONS=384"):
        MiniLMBackend(dimensions=768)


def test_a_model_of_ones_own_is_read_from_its_folder(tmp_path: Path) -> None:
    shutil.copy(minilm.weights(None), tmp_path / "model.onnx")
    minilm.tokenizer_of(None).save(str(tmp_path / "tokenizer.json"))

    own = MiniLMBackend(model=str(tmp_path))

    assert np.array_equal(own.embed_query("the invoice"), backend.embed_query("the invoice"))
    assert own.model == str(tmp_path)


def test_a_folder_without_a_model_waits_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be loaded"):
        MiniLMBackend(model=str(tmp_path)).load()
