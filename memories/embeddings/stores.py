"""Django's cache backends, and how many entries they hold."""

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache


class InProcessCache(LocMemCache):
    def entries(self) -> int:
        return len(self._cache)  # type: ignore[attr-defined]  # not in the stubs


class SharedCache(RedisCache):
    def entries(self) -> int:
        """All keys of the Redis database: counting only those of embeddings would read every one."""
        return int(self._cache.get_client(None).dbsize())  # type: ignore[attr-defined]
