"""API keys and the tenants that each key opens."""

from django.db import models
from rest_framework_api_key.models import AbstractAPIKey


class APIKey(AbstractAPIKey):
    """Gives a program access to the memories of one user, or of one project of that user. Stored as a hash."""

    user_id = models.TextField(help_text="the user whose memories the key opens")
    project_id = models.TextField(
        blank=True, default="", help_text="the only project the key opens; empty: all projects of the user"
    )
    may_erase = models.BooleanField(
        default=False, help_text="whether the key may erase: remove memories with their history, for ever"
    )
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="exact to the minute")

    class Meta(AbstractAPIKey.Meta):
        db_table = "api_keys"
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"
