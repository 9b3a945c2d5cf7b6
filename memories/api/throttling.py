"""The rate limit of a key or of an address: THROTTLE_RATE, off by default."""

import logging
from typing import Any

from django.conf import settings
from django.core.cache import caches
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from memories.models import APIKey

logger = logging.getLogger(__name__)


class KeyThrottle(SimpleRateThrottle):
    """Counts requests per key. Requests without a key are counted per address.

    Each process counts separately. With REDIS_URL all processes share one count, which may miss requests that arrive
    in the same instant.
    """

    def __init__(self) -> None:
        self.cache = caches["throttle"]
        super().__init__()

    def get_rate(self) -> str | None:
        return settings.THROTTLE_RATE or None

    def allow_request(self, request: Request | None, view: Any) -> bool:
        if self.get_rate() is None:
            return True
        from redis.exceptions import RedisError  # imported late: without a rate there may be no Redis

        try:
            return super().allow_request(request, view)  # type: ignore[arg-type]  # only get_cache_key reads it
        except RedisError as error:
            logger.warning("The throttle's cache does not answer (%s). Requests are not counted.", error)
            return True

    def get_cache_key(self, request: Request, view: object) -> str:
        who = request.auth.prefix if isinstance(request.auth, APIKey) else request.META.get("REMOTE_ADDR", "")
        return f"throttle:{who}"


class _NamedThrottle(KeyThrottle):
    """Counts for the prefix of a key or for an address, whatever the request."""

    def __init__(self, who: str) -> None:
        self.who = who
        super().__init__()

    def get_cache_key(self, request: Request, view: object) -> str:
        return f"throttle:{self.who}"


def count(who: str) -> None:
    """Count a request of the prefix of a key, or of an address. Raises Throttled above THROTTLE_RATE."""
    throttle = _NamedThrottle(who)
    if not throttle.allow_request(None, None):
        raise Throttled(throttle.wait())


class _Several(KeyThrottle):
    """Counts several requests at once, or none of them."""

    # Set by DRF from the rate; requests and seconds.
    num_requests: int
    duration: int

    def __init__(self, requests: int) -> None:
        self.requests = requests
        super().__init__()

    def throttle_success(self) -> bool:
        if len(self.history) + self.requests > self.num_requests:
            return False
        self.history[:0] = [self.now] * self.requests
        self.cache.set(self.key, self.history, self.duration)
        return True

    def wait(self) -> float | None:
        """Seconds until the oldest requests no longer count that leave too little room now."""
        missing = len(self.history) + self.requests - self.num_requests
        return self.history[-missing] + self.duration - self.now if 0 < missing <= len(self.history) else None


def count_more(request: Request, requests: int) -> None:
    """Count so many requests more for a request that does the work of several.

    Raises Throttled above THROTTLE_RATE, and ValidationError when the rate never allows so many at once.
    """
    throttle = _Several(requests)
    if not requests or throttle.rate is None:
        return
    if requests + 1 > throttle.num_requests:
        raise ValidationError(
            f"Each question counts as a request, and THROTTLE_RATE is {throttle.rate}. Ask at most "
            f"{throttle.num_requests} at once."
        )
    if not throttle.allow_request(request, None):
        raise Throttled(throttle.wait())


def count_refusal(address: str) -> None:
    """Count a request without a valid key against its address, so that keys cannot be tried without end.

    DRF throttles a request only after its key is accepted. Raises Throttled above THROTTLE_RATE. A valid key is not
    refused for it, since clients behind one proxy may share an address.
    """
    count(address)
