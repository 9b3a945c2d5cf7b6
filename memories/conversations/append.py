"""Append turns to a buffer: to Redis if it is configured and answers, otherwise to PostgreSQL."""

from typing import NamedTuple

from memories.conversations.buffers import failover, redis_client
from memories.conversations.buffers.failover import FailedOver
from memories.conversations.buffers.postgres import PostgresBuffer, RedisIsBack
from memories.conversations.buffers.redis import RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.turns import Post, Receipt

# In one attempt Redis fails, and then PostgreSQL refuses because other processes have reached Redis again.
ATTEMPTS = 3


class Appended(NamedTuple):
    receipt: Receipt
    buffer: str
    # The turns are in PostgreSQL because Redis does not answer.
    degraded: bool = False


def append(post: Post) -> Appended:
    """Append the turns of a request; a buffer holds them when this returns. Raises KeyReused, Unavailable."""
    postgres = PostgresBuffer()
    if not redis_client.is_configured():
        return Appended(postgres.append(post), postgres.name)
    uncertain = False
    for _ in range(ATTEMPTS):
        try:
            failover.check()
            redis = RedisBuffer()
            receipt = redis.append(post)
            failover.end_pause()
            return Appended(receipt, redis.name)
        except FailedOver as failed_over:
            generation = failed_over.generation
        except RedisAway as away:
            # Redis may hold the turns although its answer did not arrive.
            uncertain = True
            generation = failover.fail_over(str(away.reason)).generation
        try:
            receipt = postgres.append(post, generation=generation, uncertain=uncertain)
            return Appended(receipt, postgres.name, True)
        except RedisIsBack:
            failover.end_pause()
            if uncertain:  # a second append to Redis could store the turns twice
                break
    raise RedisAway("Redis answers other processes, and does not answer this one")
