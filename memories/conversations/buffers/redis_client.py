"""The connection to the Redis server that turns wait in, and the scripts that work on them there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

import outbox

# Where it is used it is imported inside: a tenth of a start's time, and most have no Redis.
if TYPE_CHECKING:
    import redis

DEPENDENCY = "redis"
SCRIPTS = Path(__file__).parent / "scripts"

_clients: dict[tuple[int, str], "redis.Redis"] = {}


class RedisAway(outbox.Unavailable):
    """Redis does not answer, or not as it should. What was asked may have happened all the same."""

    def __init__(self, reason: str) -> None:
        super().__init__(DEPENDENCY, reason)


def is_configured() -> bool:
    return bool(settings.CONVERSATION_REDIS_URL)


def get_client() -> "redis.Redis":
    """The process's client (a pool, safe between threads), made after the fork."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    which = os.getpid(), str(settings.CONVERSATION_REDIS_URL)
    if which not in _clients:
        seconds = settings.CONVERSATION_REDIS_TIMEOUT_SECONDS
        _clients[which] = redis.Redis.from_url(
            settings.CONVERSATION_REDIS_URL,
            decode_responses=True,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            # A script whose answer was lost may have run: it is never sent a second time by itself.
            retry=Retry(NoBackoff(), 0),
        )
    return _clients[which]


@cache
def _text(script: str) -> str:
    return (SCRIPTS / f"{script}.lua").read_text()


def keep_ms() -> int:
    """How long Redis keeps a conversation after its last turn."""
    return int(settings.CONVERSATION_TTL_MINUTES) * 60_000


@contextmanager
def translated_errors() -> Iterator[None]:
    import redis

    try:
        yield
    except redis.RedisError as error:
        raise RedisAway(f"{type(error).__name__}: {error}") from error


def run(script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
    """The answer of a script in `scripts`. Raises RedisAway."""
    with translated_errors():
        return get_client().register_script(_text(script))(keys=keys, args=args)


def add(pipeline: "redis.client.Pipeline", script: str, keys: Sequence[str], args: Sequence[Any]) -> None:
    """Put a script into a pipeline."""
    get_client().register_script(_text(script))(keys=keys, args=args, client=pipeline)
