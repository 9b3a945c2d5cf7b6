"""The backend that the settings name."""

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from memories.embeddings.backend import EmbeddingBackend
from outbox.exceptions import Unavailable

BACKENDS = {
    "static": "memories.embeddings.static.StaticBackend",
    "hashing": "memories.embeddings.hashing.HashingBackend",
    "minilm": "memories.embeddings.minilm.MiniLMBackend",
    "google": "memories.embeddings.google.GoogleBackend",
    "google-genai": "memories.embeddings.google_genai.GoogleGenAIBackend",
    "sentence-transformers": "memories.embeddings.sentence_transformers.SentenceTransformersBackend",
}


class MisconfiguredError(Unavailable, ImproperlyConfigured):
    """The settings name a backend that cannot be made. Events wait for a correction, as in a provider's outage."""

    def __init__(self, reason: object) -> None:
        super().__init__("embedder", reason)


def get_backend() -> EmbeddingBackend:
    """Return the backend that the settings name, made once in a process. Raises MisconfiguredError."""
    return make_backend(settings.EMBEDDING_BACKEND, settings.EMBEDDING_MODEL, settings.EMBEDDING_DIMENSIONS)


@lru_cache(maxsize=8)
def make_backend(name: str, model: str, dimensions: int) -> EmbeddingBackend:
    """Return the backend with this name, made once in a process. An empty model means the backend's default.

    Raises MisconfiguredError.
    """
    path = BACKENDS.get(name, name)
    if "." not in path:
        raise MisconfiguredError(
            f"EMBEDDING_BACKEND={name!r} is unknown. Use one of {', '.join(BACKENDS)}, or the dotted path of a class."
        )
    try:
        make: Callable[..., EmbeddingBackend] = import_string(path)
        return make(model=model, dimensions=dimensions)
    except ImportError as error:
        raise MisconfiguredError(f"EMBEDDING_BACKEND={name!r} cannot be imported: {error}") from error
    except ImproperlyConfigured as error:
        raise MisconfiguredError(error) from error
