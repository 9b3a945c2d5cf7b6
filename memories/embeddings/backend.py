"""The interface of an embedding backend."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# The dependency that the handlers name and whose circuit opens.
DEPENDENCY = "embedder"

# One vector in each row: shape (number of texts, dimensions), float32.
Vectors = NDArray[np.float32]


class EmbeddingBackend(Protocol):
    """Turns texts into vectors. Its class takes the keywords `model` (empty: its default) and `dimensions`.

    It raises `outbox.Unavailable("embedder", retry_after=seconds | None)` when the provider cannot answer now
    (connection, timeout, 429, 503, or a refused key or model, which a person can correct), `outbox.Reject(reason)`
    for a text that can never be embedded, and any other exception for an error worth a retry.
    Its vectors need not be normalised or checked: `memories.embeddings.check_vectors` does both.
    """

    model: str
    dimensions: int

    def embed_documents(self, texts: Sequence[str]) -> Vectors | Sequence[Vectors | Sequence[float]]:
        """Return one vector for each text, in the order of the texts."""
        ...

    def embed_query(self, text: str) -> Vectors | Sequence[float]:
        """Return one vector, shape (dimensions,)."""
        ...


@runtime_checkable
class LimitedBackend(Protocol):
    """An optional part of a backend: its model reads only the beginning of a long text."""

    def fit(self, text: str) -> str:
        """Return the part of the text that the model reads, or the text itself if it reads all of it."""
        ...


@runtime_checkable
class QueriesBackend(Protocol):
    """An optional part of a backend: it embeds several queries in one call."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors | Sequence[Vectors | Sequence[float]]:
        """Return one vector for each query, in the order of the queries."""
        ...


@runtime_checkable
class LoadedBackend(Protocol):
    """An optional part of a backend: it is slow to start."""

    def load(self) -> None:
        """Load what the first text would otherwise wait for. Called in the process that embeds, after the fork."""
        ...


@runtime_checkable
class PartlyKnowingBackend(Protocol):
    """An optional part of a backend: it does not know the meaning of every text, and compares words then."""

    def known_part(self, text: str) -> float:
        """Return the part of the text, 0 to 1, whose meaning is in its vector."""
        ...
