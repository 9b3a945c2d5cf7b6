"""Vectors from the words themselves: no model, no network, and the same result everywhere.

Lexical, not semantic: it finds texts that share words, parts of words or spellings, but no synonyms. Each word and each
of its character n-grams is hashed to a signed place in the vector (the hashing trick, Weinberger et al., 2009). So the
vector needs no vocabulary and no training.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import log

import mmh3
import numpy as np
from django.core.exceptions import ImproperlyConfigured
from numpy.typing import NDArray

from memories.embeddings.backend import Vectors
from memories.embeddings.english import STOP_WORDS, stem
from memories.word_cache import cache_short_words

NGRAM_LENGTHS = (2, 3, 4)
# The weight of all n-grams of a word together. The word itself has weight 1.
NGRAM_WEIGHT = 0.5
# Not 0: a text of stop words alone has a vector too.
STOP_WORD_WEIGHT = 0.1
# A word that first occurs at this position weighs 1/√2 of a word at the start.
HALF_POWER_POSITION = 200
# A constant in every document's vector, as long as this many words. Without it, cosine divides by the full length of a
# text, and "Thanks, Ann!" beats every longer answer to a question about Ann.
DOCUMENT_BIAS = 2.5

# Thai, Lao, Myanmar, Khmer, Japanese and Chinese have no spaces between words. There, overlapping pairs of characters
# are the words.
_UNSPACED = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
_WORD = re.compile(f"[{_UNSPACED}]+|[^\\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_POSSESSIVE = re.compile(r"['’]s\b")


class HashingBackend:
    """Place 0 of a vector holds the document's bias, and the features share the rest."""

    # A look-up in the cache would take longer than embedding.
    cheap = True

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        if dimensions < 2:
            raise ImproperlyConfigured(f"EMBEDDING_DIMENSIONS={dimensions}: hashing needs at least 2")
        # Stored with each vector. A change of what a vector holds needs a new name: the old vectors then count as
        # another model's and are made again.
        self.model = model or "hashing-2"
        self.dimensions = dimensions

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return np.stack([self._vector(text, DOCUMENT_BIAS) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        return self._vector(text, 0.0)

    def _vector(self, text: str, bias: float) -> Vectors:
        words = _words(text)
        vector = np.zeros(self.dimensions, dtype=np.float64)
        if words:
            places, weights = _weighted_features(words)
            # The modulo is applied here, so that one cache of words serves all dimensions.
            vector[1:] = np.bincount(places % (self.dimensions - 1), weights, self.dimensions - 1)
        vector[0] = bias if words else 1.0
        length = float(np.linalg.norm(vector))
        if length == 0:  # in very few dimensions, signed features may cancel each other out
            vector[0] = length = 1.0
        return (vector / length).astype(np.float32)


def _words(text: str) -> list[str]:
    words = _WORD.findall(_POSSESSIVE.sub("", _folded(text)))
    if text.isascii():
        return words
    return [part for word in words for part in (_pairs(word) if _IS_UNSPACED.match(word) else (word,))]


def _pairs(characters: str) -> list[str]:
    return [characters[at : at + 2] for at in range(len(characters) - 1)] or [characters]


def _folded(text: str) -> str:
    """Return the text without case, accents and compatibility forms: "Café" becomes "cafe"."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _weighted_features(words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts = Counter(words)
    first = {word: position for position, word in reversed(list(enumerate(words)))}
    features = [_features(word) for word in counts]
    # Sublinear: the tenth mention adds little to the first.
    weight = [
        (1 + log(count)) / (1 + first[word] / HALF_POWER_POSITION) ** 0.5 for word, count in counts.items()
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
    if word in STOP_WORDS:
        weights *= STOP_WORD_WEIGHT
    return hashes & 0x7FFFFFFF, np.where(hashes < 0, -weights, weights)


def _ngrams(word: str) -> list[str]:
    return [word[at : at + length] for length in NGRAM_LENGTHS for at in range(len(word) - length + 1)]
