"""What every backend's vectors are checked for."""

import numpy as np
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from memories import embeddings
from memories.embeddings import (
    EmbeddingError,
    NotFiniteError,
    WrongCountError,
    WrongDimensionsError,
    check_vectors,
)
from outbox import Unavailable


def test_vectors_come_out_as_float32_of_length_one():
    vectors = check_vectors([[3.0, 4.0], [0.0, 1e-30]], 2, 2)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))


def test_no_texts_make_no_vectors():
    assert check_vectors([], 0, 768).shape == (0, 768)


def test_one_vector_too_few_is_told():
    with pytest.raises(WrongCountError, match="asked for 2 vectors, got 1"):
        check_vectors([[1.0, 0.0]], 2, 2)


@pytest.mark.parametrize("vectors", [[[1.0, 0.0, 0.0]], [[1.0]], np.ones((1, 3))])
def test_a_vector_of_another_length_is_told_with_what_to_set(vectors: object):
    with pytest.raises(WrongDimensionsError, match="instead of 2: set EMBEDDING_DIMENSIONS"):
        check_vectors(vectors, 1, 2)  # type: ignore[arg-type]


def test_ragged_vectors_are_told():
    with pytest.raises(WrongDimensionsError, match="vectors of 2, 3 dimensions instead of 2"):
        check_vectors([[1.0, 0.0], [1.0, 0.0, 0.0]], 2, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_vector_without_a_direction_is_told_with_its_place(value: float):
    with pytest.raises(NotFiniteError, match="1 of 2 vectors, the first at 1"):
        check_vectors([[1.0, 0.0], [0.0, value]], 2, 2)


def test_all_of_them_are_embedding_errors():
    for error in (WrongCountError, WrongDimensionsError, NotFiniteError):
        assert issubclass(error, EmbeddingError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gogle", "'gogle' is unknown. Use one of static, hashing, minilm, google"),
        ("no.such.Backend", "cannot be imported: No module named"),
    ],
)
def test_a_backend_that_does_not_exist_is_told_with_the_setting(settings, name: str, message: str):
    settings.EMBEDDING_BACKEND = name
    with pytest.raises(ImproperlyConfigured, match=message):
        embeddings.get_backend()
    with pytest.raises(Unavailable, match=message):
        embeddings.embed_query("one")
    assert [(problem.id, name in problem.msg) for problem in run_checks()] == [("memories.E001", True)]


def test_the_backend_follows_the_settings_and_is_made_once(settings):
    settings.EMBEDDING_BACKEND = "hashing"
    settings.EMBEDDING_DIMENSIONS = 32
    assert embeddings.get_backend() is embeddings.get_backend()
    assert embeddings.embed_documents(["one", "two"]).shape == (2, 32)
    assert embeddings.embed_query("one").shape == (32,)
