"""The checks that every backend's vectors must pass."""

from collections.abc import Sequence

import numpy as np

from memories.embeddings.backend import Vectors
from outbox.exceptions import Unavailable


class EmbeddingError(Exception):
    """A backend returned unusable vectors. A retry may help, or a person has to look into it."""


class WrongCountError(EmbeddingError):
    """Not one vector for each text. Their order is unknown, so none can be used."""


class WrongDimensionsError(EmbeddingError, Unavailable):
    """The model makes vectors of another length than EMBEDDING_DIMENSIONS.

    Every text fails until a setting is changed. Events wait for that, as in a provider's outage.
    """

    def __init__(self, reason: str) -> None:
        Unavailable.__init__(self, "embedder", reason)


class NotFiniteError(EmbeddingError):
    """A vector contains NaN or infinity, or only zeros: it has no direction to compare."""


def check_vectors(
    vectors: Vectors | Sequence[Vectors | Sequence[float]], count: int, dimensions: int
) -> Vectors:
    """Return the vectors as float32 of length 1, shape (count, dimensions).

    Raises WrongCountError, WrongDimensionsError or NotFiniteError.
    """
    if len(vectors) != count:
        raise WrongCountError(f"asked for {count} vectors, got {len(vectors)}")
    if count == 0:
        return np.zeros((0, dimensions), dtype=np.float32)
    lengths = sorted({len(row) for row in vectors})
    if lengths != [dimensions]:
        raise WrongDimensionsError(
            f"the model made vectors of {', '.join(map(str, lengths))} dimensions instead of {dimensions}: set "
            f"EMBEDDING_DIMENSIONS to the model's number, or EMBEDDING_MODEL to a model with {dimensions}"
        )
    matrix = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unusable = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
    if unusable.size:
        raise NotFiniteError(
            f"{unusable.size} of {count} vectors, the first at {unusable[0]}: not finite or zero"
        )
    unit: Vectors = (matrix / norms).astype(np.float32)
    return unit
