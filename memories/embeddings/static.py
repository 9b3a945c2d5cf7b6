"""Vectors from a table of token vectors: meaning without a key, a download or a model to run.

The table was distilled once from all-MiniLM-L6-v2 (see tools/distil_static.py). The meaning of a text is the sum of its
tokens' vectors. The table knows English words. Other scripts, names, code and identifiers are found by the hashed words
of `memories.embeddings.hashing`, to which the meaning is added. The more of a text the table knows, the more its
meaning counts.

The meaning takes 256 of the dimensions, but the hashed words take all of them. The two hardly disturb each other,
because hashed words point in random directions. Texts that the table does not know thus lose no dimensions: apart, with
512 dimensions for hashed words, XQuAD in Russian has a recall@10 of 0.76 instead of 0.82.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from django.core.exceptions import ImproperlyConfigured
from numpy.typing import NDArray

from memories.embeddings import hashing
from memories.embeddings.backend import Vectors
from memories.word_cache import cache_short_words
from outbox.exceptions import Unavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TABLE = Path(__file__).with_name("tables") / "static-1.npz"
SHA256 = "9ff3dbb93d16d7317083e86e5252a688e910e79cabccd28fe721b7d4258672c4"
# The dimensions of the table, the most important ones first.
MEANING_DIMENSIONS = 256

# The part of the similarity that the meaning makes, for a text that the table knows completely.
MEANING_SHARE = 0.7
# A text of ASCII without control characters, which the tokenizer would remove. Its words and signs are these.
_ORDINARY = re.compile(r"[\t\n\r -~]*")
_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
# How much of a word the table knows, by the number of its tokens. The parts of a rare word say little of its meaning.
KNOWN_BY_PARTS = np.array([0.0, 1.0, 0.5, 0.0])


class Table(NamedTuple):
    """The token vectors, and the tokenizer that they belong to."""

    tokenizer: "Tokenizer"
    # int8, shape (tokens, MEANING_DIMENSIONS), and the factor of each row.
    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    # Whether a word that begins with the token may be known: the token is of Latin letters.
    is_latin: NDArray[np.bool_]
    # Whether the token is of letters of any script. An unknown character is one.
    is_letter: NDArray[np.bool_]
    # The tokens of one word or sign of ASCII, in small letters.
    word: Callable[[str], "Word"]


class StaticBackend:
    """The default without a key."""

    # A look-up in the cache would take longer than embedding.
    cheap = True

    def __init__(self, model: str = "", dimensions: int = 768) -> None:
        if dimensions < 2:
            raise ImproperlyConfigured(f"EMBEDDING_DIMENSIONS={dimensions}: static needs at least 2")
        # Stored with each vector. A change of what a vector holds needs a new name: the old vectors then count as
        # another model's and are made again.
        self.model = model or "static-2"
        self.dimensions = dimensions
        self._hashing = hashing.HashingBackend(dimensions=dimensions)
        # The first places hold the document's bias of the hashed words.
        self._meaning_dimensions = min(MEANING_DIMENSIONS, dimensions - hashing.bias_dimensions(dimensions))
        self._lock = Lock()

    def load(self) -> None:
        self._table  # noqa: B018

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        hashed = self._hashing.embed_documents(texts)
        return np.stack([self._vector(text, words) for text, words in zip(texts, hashed, strict=True)])

    def embed_query(self, text: str) -> Vectors:
        return self._vector(text, self._hashing.embed_query(text))

    def known_part(self, text: str) -> float:
        return self._meaning(text)[1]

    def _vector(self, text: str, hashed: Vectors) -> Vectors:
        meaning, known = self._meaning(text)
        share = MEANING_SHARE * known
        vector = hashed.astype(np.float64) * (1 - share) ** 0.5
        vector[-self._meaning_dimensions :] += meaning * share**0.5
        length = float(np.linalg.norm(vector))
        return (vector / length).astype(np.float32) if length else hashed

    def _meaning(self, text: str) -> tuple[Vectors, float]:
        """Return the unit vector of the text's meaning, and the part of its letters that the table knows, 0 to 1."""
        table = self._table
        tokens, known = _read_ascii(text, table) if _ORDINARY.fullmatch(text) else _read(text, table)
        nothing = np.zeros(self._meaning_dimensions, dtype=np.float32)
        if not len(tokens):
            return nothing, 0.0
        vectors = table.vectors[tokens, : self._meaning_dimensions].astype(np.float32)
        vector = table.scales[tokens] @ vectors
        length = float(np.linalg.norm(vector))
        return (vector / length, known) if length else (nothing, 0.0)

    @cached_property
    def _table(self) -> Table:
        """Load the table at the first text, in the process that embeds: it takes 8 MB."""
        with self._lock:
            return load_table()


class Word(NamedTuple):
    """The tokens of a word or sign, and what it adds to the known part of a text."""

    tokens: list[int]
    # Its letters, times the part of them that the table knows.
    known: float
    # Its letters, if they count.
    counted: int


def _read(text: str, table: Table) -> tuple[NDArray[np.intp], float]:
    """Return the tokens of the text, and the part of its letters that the table knows."""
    encoded = table.tokenizer.encode(text, add_special_tokens=False)
    tokens = np.array(encoded.ids, dtype=np.intp)
    if not len(tokens):
        return tokens, 0.0
    words, offsets = np.array(encoded.word_ids, dtype=np.intp), np.array(encoded.offsets)
    letters = np.bincount(words, offsets[:, 1] - offsets[:, 0])
    parts = np.minimum(np.bincount(words), len(KNOWN_BY_PARTS) - 1)
    first = np.zeros(len(letters), dtype=np.intp)
    first[words[::-1]] = tokens[::-1]
    known = float(letters @ (KNOWN_BY_PARTS[parts] * table.is_latin[first]))
    # A sign of its own says nothing about what the table knows. A Chinese character is a word that it does not know.
    counted = float(letters @ ((letters > 1) | table.is_letter[first]))
    return tokens, known / counted if counted else 0.0


def _read_ascii(text: str, table: Table) -> tuple[NDArray[np.intp], float]:
    """Do the same for an ordinary text, whose words the tokenizer has mostly seen before: in a third of the time."""
    words = [table.word(word) for word in _WORD.findall(text.lower())]
    tokens = np.fromiter(chain.from_iterable(word.tokens for word in words), dtype=np.intp)
    counted = sum(word.counted for word in words)
    return tokens, sum(word.known for word in words) / counted if counted else 0.0


def load_table() -> Table:
    """Read the table. Raises Unavailable if its file is not the one of this version."""
    return _load(TABLE)


def _load(path: Path) -> Table:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise Unavailable("embedder", f"{path} is not the file of this version. Install Semantix again.")
    with np.load(path) as stored:
        vocabulary = stored["vocabulary"].tobytes().decode().split("\n")
        tokenizer = Tokenizer(
            models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
        )
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        is_latin = np.array([token.removeprefix("##").isalpha() and token.isascii() for token in vocabulary])
        is_letter = np.array([token.removeprefix("##").isalpha() or token == "[UNK]" for token in vocabulary])
        scales = stored["scales"].astype(np.float32)
        word = _cached(tokenizer, is_latin, is_letter)
        return Table(tokenizer, stored["vectors"], scales, is_latin, is_letter, word)


def _cached(
    tokenizer: "Tokenizer", is_latin: NDArray[np.bool_], is_letter: NDArray[np.bool_]
) -> Callable[[str], Word]:
    @cache_short_words(maxsize=20_000, max_length=24)
    def read(word: str) -> Word:
        tokens = tokenizer.encode(word, add_special_tokens=False).ids
        part = KNOWN_BY_PARTS[min(len(tokens), len(KNOWN_BY_PARTS) - 1)] * is_latin[tokens[0]]
        is_counted = len(word) > 1 or is_letter[tokens[0]]
        return Word(tokens, len(word) * float(part), len(word) if is_counted else 0)

    return read
