"""What Django's system checks say of the settings, before anything starts."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from memories.embeddings import MisconfiguredError, get_backend


@register()
def embedding_backend(**_: Any) -> list[CheckMessage]:
    """memories.E001: the embedding backend cannot be made."""
    try:
        get_backend()
    except MisconfiguredError as error:
        return [
            Error(
                error.reason, hint="docs/how-to/choose-an-embedder.md lists the backends.", id="memories.E001"
            )
        ]
    return []


@register()
def throttle_rate(**_: Any) -> list[CheckMessage]:
    """memories.E002: THROTTLE_RATE says no rate."""
    from memories.api.throttling import KeyThrottle  # not before the apps are there

    try:
        KeyThrottle()
    except (ValueError, KeyError):
        said = f"THROTTLE_RATE is {settings.THROTTLE_RATE!r}, which is no rate."
        return [
            Error(said, hint="Write requests per second, minute, hour or day: 600/min.", id="memories.E002")
        ]
    return []
