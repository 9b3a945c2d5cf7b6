"""How much of a text a model reads."""

import doctest

import pytest

from memories.embeddings import tokens
from memories.embeddings.tokens import first_tokens


def test_the_docstring_tells_the_truth() -> None:
    assert doctest.testmod(tokens).failed == 0


@pytest.mark.parametrize("text", ["", "one two three", "word " * 20, "東京タワー"])
def test_a_text_within_the_limit_is_whole(text: str) -> None:
    assert first_tokens(text, 20) == text


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("one two three four", 2, "one two"),
        ("configuration of it", 4, "configuration"),
        ("1234 5678", 5, "1234 5"),
        ("東京タワーに行きました", 5, "東京タワー"),
        ("a=b; c=d", 4, "a=b;"),
        ("incomprehensibilities", 2, ""),
    ],
)
def test_a_longer_one_ends_before_the_word_that_passes_it(text: str, limit: int, kept: str) -> None:
    assert first_tokens(text, limit) == kept
