"""Embedding: turning texts into vectors. See docs/how-to/choose-an-embedder.md."""

from memories.embeddings.backend import EmbeddingBackend, Vectors
from memories.embeddings.cache import cache_statistics
from memories.embeddings.embed import (
    embed_documents,
    embed_queries,
    embed_query,
    is_truncated,
    known_part,
    load,
)
from memories.embeddings.selection import MisconfiguredError, get_backend, make_backend
from memories.embeddings.vectors import (
    EmbeddingError,
    NotFiniteError,
    WrongCountError,
    WrongDimensionsError,
    check_vectors,
)

__all__ = [
    "EmbeddingBackend",
    "EmbeddingError",
    "MisconfiguredError",
    "NotFiniteError",
    "Vectors",
    "WrongCountError",
    "WrongDimensionsError",
    "cache_statistics",
    "check_vectors",
    "embed_documents",
    "embed_queries",
    "embed_query",
    "get_backend",
    "is_truncated",
    "known_part",
    "load",
    "make_backend",
]
