"""A cache of vectors in Django's cache "embeddings": a text is not embedded, or paid for, twice.

A cache may drop entries and may fail. Both count as a miss. Vectors are stored as float32 bytes.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np
from django.conf import settings
from django.core.cache import caches

from memories import metrics
from memories.embeddings.backend import EmbeddingBackend, Vectors
from memories.embeddings.selection import MisconfiguredError, get_backend

logger = logging.getLogger(__name__)

# Seconds without the cache after it failed: waiting for a dead Redis at each text costs more than embedding.
PAUSE_SECONDS = 10.0

Task = Literal["document", "query"]
T = TypeVar("T")


class CacheStatistics(TypedDict):
    """The counts of this process since its start. `entries` is the cache's present size; None where it is unknown."""

    enabled: bool
    hits: int
    misses: int
    errors: int
    hit_rate: float
    entries: int | None


def through_cache(
    backend: EmbeddingBackend, task: Task, texts: Sequence[str], embed: Callable[[list[str]], Vectors]
) -> Vectors:
    """Return a vector for each text: from the cache, or from `embed`, which is called once with the missing texts."""
    unique = list(dict.fromkeys(texts))
    if is_enabled(backend):
        keys = {text: _key(backend, task, text) for text in unique}
        vectors = _read(keys, backend.dimensions)
    else:
        keys, vectors = {}, {}
    if missing := [text for text in unique if text not in vectors]:
        made = dict(zip(missing, embed(missing), strict=True))
        _write({keys[text]: vector for text, vector in made.items() if text in keys})
        vectors |= made
    rows = [vectors[text] for text in texts]
    return np.stack(rows) if rows else np.zeros((0, backend.dimensions), dtype=np.float32)


def is_enabled(backend: EmbeddingBackend) -> bool:
    """Tell whether the cache is used: EMBEDDING_CACHE_ENABLED, and embedding costs more than a look-up."""
    return bool(settings.EMBEDDING_CACHE_ENABLED) and not getattr(backend, "cheap", False)


def forget(model: str, dimensions: int, texts: Sequence[str]) -> int:
    """Delete the vectors of these texts, as documents of this model; returns how many there were.

    Reaches the cache that all processes share, or this process's own. A vector in another process's own cache is
    keyed by a hash and holds no words; it goes after EMBEDDING_CACHE_TTL_HOURS.
    """
    keys = [_key_of(model, dimensions, "document", text) for text in dict.fromkeys(texts)]
    held = len(_cache.attempt(lambda cache: cache.get_many(keys), {}))
    if held:
        _cache.attempt(lambda cache: cache.delete_many(keys), None)
    return held


def cache_statistics() -> CacheStatistics:
    """Return the cache's statistics; it never raises."""
    lookups = _cache.hits + _cache.misses
    return CacheStatistics(
        enabled=_is_enabled_now(),
        hits=_cache.hits,
        misses=_cache.misses,
        errors=_cache.errors,
        hit_rate=_cache.hits / lookups if lookups else 0.0,
        entries=_cache.attempt(lambda cache: cache.entries() if hasattr(cache, "entries") else None, None),
    )


def _is_enabled_now() -> bool:
    """False for wrong settings: pages show this, and they are needed most when the settings are wrong."""
    try:
        return is_enabled(get_backend())
    except MisconfiguredError:
        return False


class _CountedCache:
    """Django's cache with counters, and with a pause after a failure."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._paused_until = 0.0
        self.hits = self.misses = self.errors = 0

    def count(self, *, hits: int, misses: int) -> None:
        with self._lock:
            self.hits += hits
            self.misses += misses
        metrics.cache_hits.inc(hits)
        metrics.cache_misses.inc(misses)

    def attempt(self, action: Callable[[Any], T], otherwise: T) -> T:
        if monotonic() < self._paused_until:
            return otherwise
        try:
            return action(caches["embeddings"])
        except Exception as error:  # embedding continues, whatever the cache's client raises
            with self._lock:
                self.errors += 1
                metrics.cache_errors.inc()
                self._paused_until = monotonic() + PAUSE_SECONDS
            logger.warning("The embedding cache failed and is not used for %g s: %s", PAUSE_SECONDS, error)
            return otherwise


_cache = _CountedCache()


def _key(backend: EmbeddingBackend, task: Task, text: str) -> str:
    return _key_of(backend.model, backend.dimensions, task, text)


def _key_of(model: str, dimensions: int, task: Task, text: str) -> str:
    identity = "\0".join((model, str(dimensions), task, text))
    return hashlib.sha256(identity.encode()).hexdigest()


def _read(keys: Mapping[str, str], dimensions: int) -> dict[str, Vectors]:
    stored: dict[str, bytes] = _cache.attempt(lambda cache: cache.get_many(list(keys.values())), {})
    found = {
        text: np.frombuffer(stored[key], dtype=np.float32)
        for text, key in keys.items()
        if len(stored.get(key, b"")) == 4 * dimensions
    }
    _cache.count(hits=len(found), misses=len(keys) - len(found))
    return found


def _write(vectors: Mapping[str, Vectors]) -> None:
    if vectors:
        stored = {key: vector.tobytes() for key, vector in vectors.items()}
        _cache.attempt(lambda cache: cache.set_many(stored), None)
