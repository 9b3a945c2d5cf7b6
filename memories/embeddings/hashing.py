"""Vectors from the words themselves: no model, no network, the same everywhere.

Lexical, not semantic: it finds texts that share words, parts of words or spellings, and knows nothing of
synonyms. Each word and each of its character n-grams is hashed to a signed place in the vector (the hashing
trick of Weinberger et al., 2009), so that the vector needs no vocabulary and no training.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import log

import mmh3
import numpy as np
from django.core.exceptions import ImproperlyConfigured
from numpy.typing import NDArray

from memories.embeddings.backend import Vectors
from memories.embeddings.english import STOP_WORDS, stem

NGRAM_LENGTHS = (2, 3, 4)
# The n-grams of a word weigh this much together, beside the word itself with 1.
NGRAM_WEIGHT = 0.5
# Not nothing: a text of stop words alone has a vector too.
STOP_WORD_WEIGHT = 0.1
# A word that first stands at this position weighs 1/√2 of one at the start.
HALF_POWER_POSITION = 200
# What every document carries beside its words, in words. Cosine alone divides by a text's length so fully
# that "Thanks, Ann!" beats every longer answer to a question about Ann.
DOCUMENT_BIAS = 2.5

_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")


class HashingBackend:
    """The embedded default. Place 0 of a vector is the document's bias; the features share the others."""

    # A look into the cache would take longer than embedding.
    cheap = True

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        if dimensions < 2:
            raise ImproperlyConfigured(f"EMBEDDING_DIMENSIONS={dimensions}: hashing needs at least 2")
        # Stored with each vector. Whoever changes what a vector holds changes this name: the old vectors
        # are then known to be of another model and are made anew.
        self.model = model or "hashing-1"
        self.dimensions = dimensions

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return np.stack([self._vector(text, DOCUMENT_BIAS) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        return self._vector(text, 0.0)

    def _vector(self, text: str, bias: float) -> Vectors:
        words = _WORD.findall(_POSSESSIVE.sub("", _folded(text)))
        vector = np.zeros(self.dimensions, dtype=np.float64)
        if words:
            places, weights = _weighted_features(words)
            # Places are taken modulo the dimensions here, so that one cache of words serves all of them.
            vector[1:] = np.bincount(places % (self.dimensions - 1), weights, self.dimensions - 1)
        vector[0] = bias if words else 1.0
        length = float(np.linalg.norm(vector))
        if length == 0:  # signed features may cancel each other out in very few dimensions
            vector[0] = length = 1.0
        return (vector / length).astype(np.float32)


def _folded(text: str) -> str:
    """Without case, accents and compatibility forms: "Café" is "cafe"."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _weighted_features(words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts = Counter(words)
    first = {word: position for position, word in reversed(list(enumerate(words)))}
    features = [_features(word) for word in counts]
    # Sublinear: the tenth mention says little that the first did not.
    weight = [
        (1 + log(count)) / (1 + first[word] / HALF_POWER_POSITION) ** 0.5 for word, count in counts.items()
    ]
    sizes = [len(places) for places, _ in features]
    places = np.concatenate([places for places, _ in features])
    weights = np.concatenate([weights for _, weights in features]) * np.repeat(weight, sizes)
    return places, weights


@lru_cache(maxsize=20_000)
def _features(word: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The hashes (31 bits) and signed weights of a word and its n-grams."""
    ngrams = _ngrams(f"<{word}>")
    hashes = np.array([mmh3.hash(f"={stem(word)}"), *map(mmh3.hash, ngrams)], dtype=np.int64)
    weights = np.full(len(hashes), NGRAM_WEIGHT / max(1, len(ngrams)) ** 0.5)
    weights[0] = 1.0
    if word in STOP_WORDS:
        weights *= STOP_WORD_WEIGHT
    return hashes & 0x7FFFFFFF, np.where(hashes < 0, -weights, weights)


def _ngrams(word: str) -> list[str]:
    return [word[at : at + length] for length in NGRAM_LENGTHS for at in range(len(word) - length + 1)]
