"""What Django's system checks say of the buffer's settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from memories.conversations.buffers import redis_client


@register()
def minutes_make_sense(**_: Any) -> list[CheckMessage]:
    """memories.E002: Redis would forget conversations before a flush can save them; or a number is too small."""
    flush, idle = settings.CONVERSATION_FLUSH_MINUTES, settings.CONVERSATION_IDLE_MINUTES
    if flush < 1 or idle < 0 or settings.CONVERSATION_PART_CHARACTERS < 200:
        return [
            Error(
                "CONVERSATION_FLUSH_MINUTES is at least 1, CONVERSATION_IDLE_MINUTES at least 0, "
                "CONVERSATION_PART_CHARACTERS at least 200.",
                id="memories.E002",
            )
        ]
    if idle + 3 * flush > settings.CONVERSATION_TTL_MINUTES:
        return [
            Error(
                f"CONVERSATION_TTL_MINUTES ({settings.CONVERSATION_TTL_MINUTES}) leaves no time to save: Redis would "
                "forget turns.",
                hint=f"Set it to hours: at least {idle + 3 * flush:g}, and longer than the cluster ever stands still.",
                id="memories.E002",
            )
        ]
    return []


@register()
def redis_url_is_one(**_: Any) -> list[CheckMessage]:
    """memories.E003: nothing can be reached at CONVERSATION_REDIS_URL."""
    if not redis_client.is_configured():
        return []
    from redis.connection import parse_url

    try:
        parse_url(settings.CONVERSATION_REDIS_URL)  # type: ignore[no-untyped-call]
    except ValueError as error:
        return [Error(f"CONVERSATION_REDIS_URL (or REDIS_URL): {error}.", id="memories.E003")]
    return []


@register(Tags.database, deploy=True)
def redis_keeps_what_it_takes(**_: Any) -> list[CheckMessage]:
    """memories.W001, W002: Redis would throw turns away, or forget them when it restarts. Asked by `check --deploy`."""
    if not redis_client.is_configured():
        return []
    try:
        with redis_client.translated_errors():
            client = redis_client.get_client()
            found = client.config_get("maxmemory", "maxmemory-policy", "appendonly")
    except redis_client.RedisAway as away:
        return [Warning(f"Redis could not be asked whether it evicts: {away.reason}", id="memories.W003")]
    messages: list[CheckMessage] = []
    if found["maxmemory"] != "0" and found["maxmemory-policy"] != "noeviction":
        messages.append(
            Warning(
                f"Redis evicts ({found['maxmemory-policy']}): turns that are not saved yet could go.",
                hint="Set maxmemory-policy noeviction: turns then go to PostgreSQL while it is full.",
                id="memories.W001",
            )
        )
    if found["appendonly"] != "yes":
        messages.append(
            Warning(
                "Redis writes no log (appendonly no): a restart loses the turns that are not saved yet.",
                hint="appendonly yes loses one second at most.",
                id="memories.W002",
            )
        )
    return messages
