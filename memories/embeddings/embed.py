"""The way in: whatever the backend, vectors are counted, checked, finite and of length 1."""

from collections.abc import Sequence
from typing import cast

from memories.embeddings.backend import EmbeddingBackend, LimitedBackend, LoadedBackend, Vectors
from memories.embeddings.cache import through_cache
from memories.embeddings.selection import get_backend
from memories.embeddings.vectors import check_vectors


def embed_documents(texts: Sequence[str], backend: EmbeddingBackend | None = None) -> Vectors:
    """A unit vector a text, shape (len(texts), dimensions). Equal texts are embedded once.

    By the backend the settings name, unless another is given: an index of a former model still answers.
    Raises as the backend does (Unavailable, Reject), and EmbeddingError for vectors that cannot be used.
    """
    backend = backend or get_backend()

    def embed(missing: list[str]) -> Vectors:
        return check_vectors(backend.embed_documents(missing), len(missing), backend.dimensions)

    return through_cache(backend, "document", [_fit(backend, text) for text in texts], embed)


def embed_query(text: str, backend: EmbeddingBackend | None = None) -> Vectors:
    """A unit vector, shape (dimensions,). By whom, and what it raises, is as with embed_documents."""
    backend = backend or get_backend()

    def embed(missing: list[str]) -> Vectors:
        return check_vectors(
            [backend.embed_query(each) for each in missing], len(missing), backend.dimensions
        )

    return cast(Vectors, through_cache(backend, "query", [_fit(backend, text)], embed)[0])


def is_truncated(text: str, backend: EmbeddingBackend | None = None) -> bool:
    """Whether the backend's model reads only the beginning of the text, so that the rest cannot be found."""
    return len(_fit(backend or get_backend(), text)) < len(text)


def load() -> None:
    """Load now what the backend would load at its first text: a client library, a model."""
    backend = get_backend()
    if isinstance(backend, LoadedBackend):
        backend.load()


def _fit(backend: EmbeddingBackend, text: str) -> str:
    return backend.fit(text) if isinstance(backend, LimitedBackend) else text
