"""The admin's login form, which cannot be tried without end.

A password is checked by a slow hash, 0.8 s of a web thread. After some attempts with one name, or from one address, the
form refuses more of them for a while before it computes anything. Each failure is logged.
"""

import logging
from hashlib import sha256
from typing import Any

from django.core.cache import caches
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

logger = logging.getLogger("semantix.login")

WINDOW_SECONDS = 15 * 60
ATTEMPTS_PER_NAME = 10
# More than for a name: the people of an office may share an address.
ATTEMPTS_PER_ADDRESS = 30


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # unfold is untyped
    def clean(self) -> Any:
        """Raises ValidationError for wrong credentials, and for any after too many attempts."""
        name, address = self.cleaned_data.get("username", ""), self.request.META.get("REMOTE_ADDR", "")
        limits = {_key("name", name): ATTEMPTS_PER_NAME, _key("address", address): ATTEMPTS_PER_ADDRESS}
        exceeded = [key for key, limit in limits.items() if _count(key) > limit]
        if exceeded:
            logger.warning("Refused a login as %r from %s: too many attempts", name, address)
            raise ValidationError(
                f"Too many attempts to log in. Try again in {WINDOW_SECONDS // 60} minutes.",
                "too_many_attempts",
            )
        try:
            cleaned = super().clean()
        except ValidationError:
            logger.warning("Failed login as %r from %s", name, address)
            raise
        _forgive(*limits)
        return cleaned


def _key(kind: str, value: str) -> str:
    """Hashed: a cache key takes no spaces, and a name may be long."""
    return f"login:{kind}:{sha256(value.casefold().encode()).hexdigest()}"


def _count(key: str) -> int:
    """Count an attempt; returns how many there were in the window. It counts before the slow check, so that attempts
    at the same time do not all pass."""
    from redis.exceptions import RedisError  # imported late: without REDIS_URL nothing else needs it

    cache = caches["throttle"]
    try:
        cache.add(key, 0, WINDOW_SECONDS)
        return int(cache.incr(key))
    except ValueError:  # the window ended between the two calls
        return 1
    except RedisError as error:
        logger.warning("The throttle's cache does not answer (%s). Logins are not counted.", error)
        return 0


def _forgive(name: str, address: str) -> None:
    """After a success: the name starts again, and the attempt does not count for the address. The earlier failures of
    the address stay, since they may have been with other names."""
    from redis.exceptions import RedisError

    cache = caches["throttle"]
    try:
        cache.delete(name)
        cache.decr(address)
    except (ValueError, RedisError):
        pass
