"""Embedding by any backend: the vectors are counted and checked, finite and of length 1."""

from collections.abc import Sequence
from typing import cast

from memories.embeddings.backend import (
    EmbeddingBackend,
    LimitedBackend,
    LoadedBackend,
    PartlyKnowingBackend,
    QueriesBackend,
    Vectors,
)
from memories.embeddings.cache import through_cache
from memories.embeddings.selection import get_backend
from memories.embeddings.vectors import check_vectors


def embed_documents(texts: Sequence[str], backend: EmbeddingBackend | None = None) -> Vectors:
    """Return a unit vector for each text, shape (len(texts), dimensions). Equal texts are embedded once.

    `backend` is the one that the settings name, unless it is given: the index of a former model still answers.
    Raises what the backend raises (Unavailable, Reject), and EmbeddingError for unusable vectors.
    """
    backend = backend or get_backend()

    def embed(missing: list[str]) -> Vectors:
        return check_vectors(backend.embed_documents(missing), len(missing), backend.dimensions)

    return through_cache(backend, "document", [_fit(backend, text) for text in texts], embed)


def embed_query(text: str, backend: EmbeddingBackend | None = None) -> Vectors:
    """Return the unit vector of a query, shape (dimensions,). Backend and errors are as for embed_documents."""
    return cast(Vectors, embed_queries([text], backend)[0])


def embed_queries(texts: Sequence[str], backend: EmbeddingBackend | None = None) -> Vectors:
    """Return a unit vector for each query, as embed_documents does: in one call, where the backend can do that."""
    backend = backend or get_backend()

    def embed(missing: list[str]) -> Vectors:
        if isinstance(backend, QueriesBackend) and len(missing) > 1:
            made = backend.embed_queries(missing)
        else:
            made = [backend.embed_query(each) for each in missing]
        return check_vectors(made, len(missing), backend.dimensions)

    return through_cache(backend, "query", [_fit(backend, text) for text in texts], embed)


def is_truncated(text: str, backend: EmbeddingBackend | None = None) -> bool:
    """Tell whether the backend's model reads only the beginning of the text. The rest is then not found by meaning."""
    return len(_fit(backend or get_backend(), text)) < len(text)


def known_part(text: str, backend: EmbeddingBackend | None = None) -> float:
    """Return the part of the text, 0 to 1, whose meaning the backend knows. Models are trusted: 1."""
    backend = backend or get_backend()
    return backend.known_part(text) if isinstance(backend, PartlyKnowingBackend) else 1.0


def load() -> None:
    """Load what the backend would otherwise load at its first text: a client library, a model.

    Raises MisconfiguredError, and what the backend raises.
    """
    backend = get_backend()
    if isinstance(backend, LoadedBackend):
        backend.load()


def _fit(backend: EmbeddingBackend, text: str) -> str:
    return backend.fit(text) if isinstance(backend, LimitedBackend) else text
