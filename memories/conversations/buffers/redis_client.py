"""The connection to the Redis server of the buffer, and its Lua scripts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

import outbox

# Imported in the functions that use it: the import takes a tenth of a start, and most installations have no Redis.
if TYPE_CHECKING:
    import redis

DEPENDENCY = "redis"
SCRIPTS = Path(__file__).parent / "scripts"

_clients: dict[tuple[int, str], "redis.Redis"] = {}


class RedisAway(outbox.Unavailable):
    """Redis does not answer, or answers with an error. It may have executed the command all the same."""

    def __init__(self, reason: str) -> None:
        super().__init__(DEPENDENCY, reason)


def is_configured() -> bool:
    return bool(settings.CONVERSATION_REDIS_URL)


def get_client() -> "redis.Redis":
    """The client of this process (a connection pool, thread-safe). It is created after the fork."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    server = os.getpid(), str(settings.CONVERSATION_REDIS_URL)
    if server not in _clients:
        seconds = settings.CONVERSATION_REDIS_TIMEOUT_SECONDS
        _clients[server] = redis.Redis.from_url(
            settings.CONVERSATION_REDIS_URL,
            decode_responses=True,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            # No automatic retry: a script whose answer was lost may have run.
            retry=Retry(NoBackoff(), 0),
        )
    return _clients[server]


@cache
def _text(script: str) -> str:
    return (SCRIPTS / f"{script}.lua").read_text()


def keep_ms() -> int:
    """How long Redis keeps a conversation after its last turn, in milliseconds."""
    return int(settings.CONVERSATION_TTL_MINUTES) * 60_000


class Unreadable(Exception):
    """Redis holds something else than a conversation under a conversation's key."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises RedisAway for an error of Redis, and Unreadable for one that concerns a single key."""
    import redis

    try:
        yield
    except redis.ResponseError as error:
        if "WRONGTYPE" in str(error):
            raise Unreadable(str(error)) from error
        raise RedisAway(f"{type(error).__name__}: {error}") from error
    except redis.RedisError as error:
        raise RedisAway(f"{type(error).__name__}: {error}") from error


def raise_unless_about_a_key(answers: Sequence[Any]) -> None:
    """Raise the first error among a pipeline's answers that says more than that one key holds something else."""
    for answer in answers:
        if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
            raise answer


def run(script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
    """Run a script of the folder `scripts` and return its answer. Raises RedisAway."""
    with translated_errors():
        return get_client().register_script(_text(script))(keys=keys, args=args)


def add(pipeline: "redis.client.Pipeline", script: str, keys: Sequence[str], args: Sequence[Any]) -> None:
    """Add a script to a pipeline."""
    get_client().register_script(_text(script))(keys=keys, args=args, client=pipeline)
