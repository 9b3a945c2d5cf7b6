"""What the system checks say of this service's own settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from semantix.environment import misspelt


@register(Tags.security, deploy=True)
def access_is_by_key(**_: Any) -> list[CheckMessage]:
    if settings.SEMANTIX_AUTH != "open":
        return []
    return [
        Error(
            "SEMANTIX_AUTH is open: whoever reaches the service reads and writes every memory.",
            hint="Unset SEMANTIX_AUTH and make keys with manage.py create_api_key.",
            id="semantix.E001",
        )
    ]


@register()
def names_are_settings(**_: Any) -> list[CheckMessage]:
    """semantix.W001: a variable is nearly named like a setting."""
    return [
        Warning(f"There is no setting {name}.", hint=f"Is {meant} meant?", id="semantix.W001")
        for name, meant in misspelt(settings.ENV_FILE).items()
    ]
