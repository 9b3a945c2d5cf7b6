"""API keys in the admin."""

from typing import cast

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey as LibrarysOwn

from memories.models import APIKey
from outbox.admin import rendering

admin.site.unregister(LibrarysOwn)


@admin.register(APIKey)
class APIKeyAdmin(APIKeyModelAdmin):
    """The key itself is shown once, after it was made. To let nobody in with it any more: revoke it."""

    list_display = (  # type: ignore[assignment]  # the library names the length of its own
        "prefix",
        "name",
        "user_id",
        "project_id",
        "created",
        "expiry_date",
        "last_used_at",
        "state",
    )
    list_filter = ("revoked",)
    search_fields = ("prefix", "name", "user_id", "project_id")  # type: ignore[assignment]

    @admin.display(description="state", ordering="revoked")
    def state(self, key: APIKey) -> SafeString:
        return rendering.badge("revoked" if key.revoked else "expired" if key.has_expired else "valid")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Whose a key is never changes: another tenant gets another key."""
        scope = ("user_id", "project_id") if obj else ()
        return (*super().get_readonly_fields(request, cast(Model, obj)), "last_used_at", *scope)
