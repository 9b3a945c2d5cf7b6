"""Taking turns in: into Redis where there is one and it answers, else into PostgreSQL."""

from typing import NamedTuple

from memories.conversations.buffers import failover, redis_client
from memories.conversations.buffers.failover import FailedOver
from memories.conversations.buffers.postgres import Overtaken, PostgresBuffer
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.turns import Post, Receipt

# Rounds: Redis failed, PostgreSQL was told that others have reached it again, and so on.
ATTEMPTS = 3


class Taken(NamedTuple):
    receipt: Receipt
    buffer: str
    # In PostgreSQL because Redis does not answer.
    degraded: bool = False


def append(post: Post) -> Taken:
    """Take turns in; they are in a buffer when this returns. Raises KeyReused, Unavailable."""
    postgres = PostgresBuffer()
    if not redis_client.is_configured():
        return Taken(postgres.append(post), postgres.name)
    doubted = False
    for _ in range(ATTEMPTS):
        try:
            failover.check()
            redis = RedisBuffer()
            return Taken(redis.append(post), redis.name)
        except FailedOver as diverted:
            generation = diverted.generation
        except RedisAway as away:
            # It may have taken them without our hearing of it.
            doubted = True
            generation = failover.fail_over(str(away.reason)).generation
        try:
            return Taken(postgres.append(post, generation=generation, doubted=doubted), postgres.name, True)
        except Overtaken:
            failover.end_pause()
            if doubted:  # once more into Redis, and they might be there twice
                break
    raise RedisAway("it answers others, and not this process")
