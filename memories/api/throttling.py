"""How often a key may ask: THROTTLE_RATE, off by default."""

import logging
from typing import Any

from django.conf import settings
from django.core.cache import caches
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from memories.models import APIKey

logger = logging.getLogger(__name__)


class KeyThrottle(SimpleRateThrottle):
    """Counted for each key; where none is asked for, for each address.

    Exact within a process. Across processes, and machines, with REDIS_URL: there they share the count, give or take
    requests that arrive in the same instant.
    """

    def __init__(self) -> None:
        self.cache = caches["throttle"]
        super().__init__()

    def get_rate(self) -> str | None:
        return settings.THROTTLE_RATE or None

    def allow_request(self, request: Request, view: Any) -> bool:
        if self.get_rate() is None:
            return True
        from redis.exceptions import RedisError  # not earlier: most count nothing, and have no Redis

        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.warning("The throttle's cache does not answer (%s): requests pass uncounted.", error)
            return True

    def get_cache_key(self, request: Request, view: object) -> str:
        who = request.auth.prefix if isinstance(request.auth, APIKey) else request.META.get("REMOTE_ADDR", "")
        return f"throttle:{who}"
