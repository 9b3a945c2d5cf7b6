"""API keys and the tenants they open."""

from django.db import models
from rest_framework_api_key.models import AbstractAPIKey


class APIKey(AbstractAPIKey):
    """Lets a program in to the memories of one user, or of one project of that user. Kept as a hash."""

    user_id = models.TextField(help_text="whose memories the key opens")
    project_id = models.TextField(
        blank=True, default="", help_text="only this project; empty: all of the user's"
    )
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="to the minute")

    class Meta(AbstractAPIKey.Meta):
        db_table = "api_keys"
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"
