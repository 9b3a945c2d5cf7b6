"""System checks of the settings of conversations."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from memories.conversations.buffers import redis_client


@register()
def minutes_are_valid(**_: Any) -> list[CheckMessage]:
    """memories.E004: a number is too small. memories.E005: Redis would drop conversations before a flush saves them."""
    flush, idle = settings.CONVERSATION_FLUSH_MINUTES, settings.CONVERSATION_IDLE_MINUTES
    if flush < 1 or idle < 0 or settings.CONVERSATION_PART_CHARACTERS < 200:
        return [
            Error(
                "CONVERSATION_FLUSH_MINUTES must be at least 1, CONVERSATION_IDLE_MINUTES at least 0 and "
                "CONVERSATION_PART_CHARACTERS at least 200.",
                id="memories.E004",
            )
        ]
    if idle + 3 * flush > settings.CONVERSATION_TTL_MINUTES:
        return [
            Error(
                f"CONVERSATION_TTL_MINUTES ({settings.CONVERSATION_TTL_MINUTES}) leaves no time to save: Redis would "
                "drop turns.",
                hint=f"Set it to at least {idle + 3 * flush:g}. Better are hours: longer than the cluster ever stops.",
                id="memories.E005",
            )
        ]
    return []


@register()
def redis_url_is_valid(**_: Any) -> list[CheckMessage]:
    """memories.E003: CONVERSATION_REDIS_URL is not the URL of a Redis server."""
    if not redis_client.is_configured():
        return []
    from redis.connection import parse_url

    try:
        parse_url(settings.CONVERSATION_REDIS_URL)  # type: ignore[no-untyped-call]
    except ValueError as error:
        return [Error(f"CONVERSATION_REDIS_URL (or REDIS_URL): {error}.", id="memories.E003")]
    return []


@register(Tags.database, deploy=True)
def redis_keeps_turns(**_: Any) -> list[CheckMessage]:
    """memories.W001, W002, W003: Redis evicts turns, loses them at a restart, or cannot be asked (`check --deploy`)."""
    if not redis_client.is_configured():
        return []
    try:
        with redis_client.translated_errors():
            client = redis_client.get_client()
            config = client.config_get("maxmemory", "maxmemory-policy", "appendonly")
    except redis_client.RedisAway as away:
        return [Warning(f"Redis does not say whether it evicts turns: {away.reason}", id="memories.W003")]
    messages: list[CheckMessage] = []
    if config["maxmemory"] != "0" and config["maxmemory-policy"] != "noeviction":
        messages.append(
            Warning(
                f"Redis evicts ({config['maxmemory-policy']}): it can drop turns that are not saved yet.",
                hint="Set maxmemory-policy noeviction: while Redis is full, turns go to PostgreSQL.",
                id="memories.W001",
            )
        )
    if config["appendonly"] != "yes":
        messages.append(
            Warning(
                "Redis has no append-only file (appendonly no): a restart loses the turns that are not saved yet.",
                hint="Set appendonly yes: a crash then loses one second at most.",
                id="memories.W002",
            )
        )
    return messages
