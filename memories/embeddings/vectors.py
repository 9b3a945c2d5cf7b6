"""What is asked of vectors, whoever made them."""

from collections.abc import Sequence

import numpy as np

from memories.embeddings.backend import Vectors
from outbox.exceptions import Unavailable


class EmbeddingError(Exception):
    """A backend answered, but not with what was asked. Worth a retry; a person may have to look."""


class WrongCountError(EmbeddingError):
    """Not one vector a text: which belongs to which is not known, so none can be used."""


class WrongDimensionsError(EmbeddingError, Unavailable):
    """The model makes vectors of another length than EMBEDDING_DIMENSIONS.

    Every text would fail so until a setting is changed: events wait for that, as for a provider that is down.
    """

    def __init__(self, reason: str) -> None:
        Unavailable.__init__(self, "embedder", reason)


class NotFiniteError(EmbeddingError):
    """A vector holds NaN or infinity, or is all zeros: it has no direction to compare."""


def check_vectors(
    vectors: Vectors | Sequence[Vectors | Sequence[float]], count: int, dimensions: int
) -> Vectors:
    """The vectors as float32 of length 1, shape (count, dimensions).

    Raises WrongCountError, WrongDimensionsError or NotFiniteError.
    """
    if len(vectors) != count:
        raise WrongCountError(f"asked for {count} vectors, got {len(vectors)}")
    if count == 0:
        return np.zeros((0, dimensions), dtype=np.float32)
    lengths = sorted({len(row) for row in vectors})
    if lengths != [dimensions]:
        raise WrongDimensionsError(
            f"vectors of {', '.join(map(str, lengths))} dimensions instead of {dimensions}: set "
            f"EMBEDDING_DIMENSIONS to what the model makes, or EMBEDDING_MODEL to one that makes {dimensions}"
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
