"""The rate limit of a key: THROTTLE_RATE, off by default."""

import logging
from typing import Any

from django.conf import settings
from django.core.cache import caches
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from memories.models import APIKey

logger = logging.getLogger(__name__)


class KeyThrottle(SimpleRateThrottle):
    """Counts requests per key; where the API needs no key, per address.

    Each process counts separately. With REDIS_URL all processes share one count, which may miss requests that arrive
    in the same instant.
    """

    def __init__(self) -> None:
        self.cache = caches["throttle"]
        super().__init__()

    def get_rate(self) -> str | None:
        return settings.THROTTLE_RATE or None

    def allow_request(self, request: Request, view: Any) -> bool:
        if self.get_rate() is None:
            return True
        from redis.exceptions import RedisError  # imported late: without a rate there may be no Redis

        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.warning("The throttle's cache does not answer (%s). Requests are not counted.", error)
            return True

    def get_cache_key(self, request: Request, view: object) -> str:
        who = request.auth.prefix if isinstance(request.auth, APIKey) else request.META.get("REMOTE_ADDR", "")
        return f"throttle:{who}"
