"""Vectors from the words themselves: no model, no network, and the same result everywhere.

Lexical, not semantic: it finds texts that share words, parts of words or spellings, but no synonyms. Each word and each
of its character n-grams is hashed to a signed place in the vector (the hashing trick, Weinberger et al., 2009). So the
vector needs no vocabulary and no training.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

import mmh3
import numpy as np
from django.core.exceptions import ImproperlyConfigured
from numpy.typing import NDArray

from memories.embeddings.backend import Vectors
from memories.embeddings.english import stem
from memories.embeddings.stop_words import folded, is_stop_word, language_of
from memories.word_cache import cache_short_words

# Shorter n-grams are only useful where one character is a syllable or a word.
NGRAM_LENGTHS = (3, 4)
SYLLABLE_NGRAM_LENGTHS = (2, 3, 4)
# The weight of all n-grams of a word together. The word itself has weight 1. N-grams find inflected words: with 0.5,
# MRR in Russian is 0.78 instead of 0.82.
NGRAM_WEIGHT = 1.2
# Not 0: a text of stop words alone has a vector too.
STOP_WORD_WEIGHT = 0.1
# Short words are mostly grammar in every language, and no list has all languages. A word that is not ASCII weighs less
# than a long one below this length.
FULL_WEIGHT_LENGTH = 5
# A word that first occurs at this position weighs 1/√2 of a word at the start.
HALF_POWER_POSITION = 200
# A part of every document's vector that no query has, as long as this many words. Without it, cosine divides by the
# full length of a text, and "Thanks, Ann!" beats every longer answer to a question about Ann.
DOCUMENT_BIAS = 2.5
# The bias has places of its own, and each text another direction in them. With one direction for all, short texts lie
# so close to each other that an approximate index loses some of them: 20 of 500 were not found by their own text.
BIAS_DIMENSIONS = 32


def bias_dimensions(dimensions: int) -> int:
    """Return how many of so many places hold the bias."""
    return min(BIAS_DIMENSIONS, dimensions // 2)


# Chinese and Japanese, and Thai, Lao, Myanmar and Khmer have no spaces between words. There, overlapping groups of
# characters are the words: two characters of the first, which are syllables, three of the others, which are letters.
_SYLLABLES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_LETTERS = "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(f"[{_SYLLABLES}]+|[{_LETTERS}]+|[^\\W_{_SYLLABLES}{_LETTERS}]+")
_IS_UNSPACED = re.compile(f"(?P<syllables>[{_SYLLABLES}])|[{_LETTERS}]")
# Korean has spaces, and a character for each syllable.
_IS_SYLLABLE = re.compile(f"[{_SYLLABLES}\u1100-\u11ff\uac00-\ud7af]")
_POSSESSIVE = re.compile(r"['’]s\b")


class HashingBackend:
    """The first places of a vector hold the document's bias, and the features share the rest."""

    # A look-up in the cache would take longer than embedding.
    cheap = True

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        if dimensions < 2:
            raise ImproperlyConfigured(f"EMBEDDING_DIMENSIONS={dimensions}: hashing needs at least 2")
        # Stored with each vector. A change of what a vector holds needs a new name: the old vectors then count as
        # another model's and are made again.
        self.model = model or "hashing-3"
        self.dimensions = dimensions
        self._bias_dimensions = bias_dimensions(dimensions)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return np.stack([self._vector(text, DOCUMENT_BIAS) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        return self._vector(text, 0.0)

    def known_part(self, text: str) -> float:
        return 0.0

    def _vector(self, text: str, bias: float) -> Vectors:
        words = _words(text)
        vector = np.zeros(self.dimensions, dtype=np.float64)
        first = self._bias_dimensions
        if words:
            places, weights = _weighted_features(words)
            # The modulo is applied here, so that one cache of words serves all dimensions.
            size = self.dimensions - first
            vector[first:] = np.bincount(places % size, weights, size)
        if bias and words:
            vector[:first] = _direction(text, first) * bias
        elif not vector.any():  # no word, or signed features that cancel each other out
            vector[0] = 1.0
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def _direction(text: str, dimensions: int) -> Vectors:
    """Return a unit vector that is the same for the same text, and points anywhere for others."""
    bits = np.frombuffer(mmh3.hash_bytes(text) * (dimensions // 128 + 1), dtype=np.uint8)
    signs = np.unpackbits(bits)[:dimensions].astype(np.float32) * 2 - 1
    return signs / np.float32(dimensions**0.5)


def _words(text: str) -> list[str]:
    words = _WORD.findall(_POSSESSIVE.sub("", folded(text)))
    if text.isascii():
        return words
    return [part for word in words for part in _parts(word)]


def _parts(word: str) -> Sequence[str]:
    """Return the overlapping groups of characters of an unspaced script, or the word itself."""
    unspaced = _IS_UNSPACED.match(word)
    if unspaced is None:
        return (word,)
    size = 2 if unspaced["syllables"] else 3
    return [word[at : at + size] for at in range(len(word) - size + 1)] or (word,)


def _weighted_features(words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts = Counter(words)
    first = {word: position for position, word in reversed(list(enumerate(words)))}
    features = [_features(word) for word in counts]
    language = language_of(counts)
    # Sublinear: the tenth mention adds little to the first.
    weight = [
        (1 + log(count))
        / (1 + first[word] / HALF_POWER_POSITION) ** 0.5
        * (STOP_WORD_WEIGHT if is_stop_word(word, language) else 1.0)
        for word, count in counts.items()
    ]
    sizes = [len(places) for places, _ in features]
    places = np.concatenate([places for places, _ in features])
    weights = np.concatenate([weights for _, weights in features]) * np.repeat(weight, sizes)
    return places, weights


# A word of 24 letters has 69 n-grams, so the cache takes at most about 30 MB.
@cache_short_words(maxsize=20_000, max_length=24)
def _features(word: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the hashes (31 bits) and signed weights of a word and its n-grams."""
    ngrams = _ngrams(f"<{word}>")
    hashes = np.array([mmh3.hash(f"={stem(word)}"), *map(mmh3.hash, ngrams)], dtype=np.int64)
    weights = np.full(len(hashes), NGRAM_WEIGHT / max(1, len(ngrams)) ** 0.5)
    weights[0] = 1.0
    if not word.isascii() and not _IS_SYLLABLE.search(word):
        weights *= min(1.0, len(word) / FULL_WEIGHT_LENGTH)
    return hashes & 0x7FFFFFFF, np.where(hashes < 0, -weights, weights)


def _ngrams(word: str) -> list[str]:
    lengths = SYLLABLE_NGRAM_LENGTHS if _IS_SYLLABLE.search(word) else NGRAM_LENGTHS
    return [word[at : at + length] for length in lengths for at in range(len(word) - length + 1)]
