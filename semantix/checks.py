"""What `check --deploy` refuses of this service's own settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


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
