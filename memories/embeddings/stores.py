"""Django's cache backends with a count of their entries."""

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache


class InProcessCache(LocMemCache):
    def entries(self) -> int:
        """Return the number of entries."""
        return len(self._cache)  # type: ignore[attr-defined]  # not in the stubs


class SharedCache(RedisCache):
    def entries(self) -> int:
        """Return the number of keys in the Redis database: counting only embeddings would read every key."""
        return int(self._cache.get_client(None).dbsize())  # type: ignore[attr-defined]
