"""What an embedding backend is."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# One vector a row: shape (number of texts, dimensions), float32.
Vectors = NDArray[np.float32]


class EmbeddingBackend(Protocol):
    """Turns texts into vectors. Made with the keywords `model` (may be empty: its default) and `dimensions`.

    Raises `outbox.Unavailable("embedder", retry_after=seconds | None)` when the provider cannot answer now
    (connection, timeout, 429, 503, a key or model it refuses: a person can mend it), `outbox.Reject(reason)`
    for a text that can never be embedded, and any other exception for an error worth a retry.
    What it returns need not be normalised nor checked: `memories.embeddings.check_vectors` does both.
    """

    model: str
    dimensions: int

    def embed_documents(self, texts: Sequence[str]) -> Vectors | Sequence[Vectors | Sequence[float]]:
        """One vector a text, in their order."""
        ...

    def embed_query(self, text: str) -> Vectors | Sequence[float]:
        """One vector, shape (dimensions,)."""
        ...


@runtime_checkable
class LimitedBackend(Protocol):
    """What a backend adds whose model reads only the beginning of a long text."""

    def fit(self, text: str) -> str:
        """The part of the text that the model reads; the text itself where that is all of it."""
        ...


@runtime_checkable
class LoadedBackend(Protocol):
    """What a backend adds that is slow to start."""

    def load(self) -> None:
        """Load what the first text would wait for. Called in the process that embeds, after the fork."""
        ...
