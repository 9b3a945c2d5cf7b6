"""System checks of this service's own settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from semantix.environment import misspelt


@register(Tags.security, deploy=True)
def access_needs_a_key(**_: Any) -> list[CheckMessage]:
    if settings.SEMANTIX_AUTH != "open":
        return []
    return [
        Error(
            "SEMANTIX_AUTH is open: everybody who reaches the service can read and write every memory.",
            hint="Unset SEMANTIX_AUTH and create keys with manage.py create_api_key.",
            id="semantix.E001",
        )
    ]


@register(deploy=True)
def a_pooler_needs_a_way_past_it(**_: Any) -> list[CheckMessage]:
    """semantix.W002: LISTEN goes through a transaction-mode pooler, which passes no NOTIFY on."""
    default = settings.DATABASES["default"]
    if settings.OUTBOX_DIRECT_DATABASE != "default" or not default["DISABLE_SERVER_SIDE_CURSORS"]:
        return []
    return [
        Warning(
            "DATABASE_TRANSACTION_POOLER is true and DATABASE_DIRECT_URL is not set: clusters hear no NOTIFY and poll.",
            hint="Set DATABASE_DIRECT_URL to PostgreSQL's own address.",
            id="semantix.W002",
        )
    ]


@register()
def no_setting_is_misspelt(**_: Any) -> list[CheckMessage]:
    """semantix.W001: the name of a variable is close to the name of a setting."""
    return [
        Warning(f"There is no setting {name}.", hint=f"Did you mean {meant}?", id="semantix.W001")
        for name, meant in misspelt(settings.ENV_FILE).items()
    ]
