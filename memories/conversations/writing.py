"""Taking turns in: into Redis where there is one and it answers, else into PostgreSQL."""

from typing import NamedTuple

from memories.conversations import redis_client, switch
from memories.conversations.postgres_buffer import Overtaken, PostgresBuffer
from memories.conversations.redis_buffer import RedisBuffer
from memories.conversations.redis_client import RedisAway
from memories.conversations.switch import Diverted
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
            switch.check()
            redis = RedisBuffer()
            return Taken(redis.append(post), redis.name)
        except Diverted as diverted:
            generation = diverted.generation
        except RedisAway as away:
            # It may have taken them without our hearing of it.
            doubted = True
            generation = switch.divert(str(away.reason)).generation
        try:
            return Taken(postgres.append(post, generation=generation, doubted=doubted), postgres.name, True)
        except Overtaken:
            switch.end_pause()
            if doubted:  # once more into Redis, and they might be there twice
                break
    raise RedisAway("it answers others, and not this process")
