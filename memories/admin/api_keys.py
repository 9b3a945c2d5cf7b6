"""The pages of API keys."""

from typing import Any, cast

from django.contrib import admin
from django.db.models import CharField, Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey as LibraryAPIKey

from memories.models import APIKey
from outbox.admin import rendering

COLOURS = {"valid": rendering.GREEN, "expired": rendering.GREY, "revoked": rendering.GREY}

admin.site.unregister(LibraryAPIKey)


@admin.register(APIKey)
class APIKeyAdmin(APIKeyModelAdmin):
    """The full key is shown once, after it is created. Revoke a key to refuse it from now on."""

    list_display = (  # type: ignore[assignment]  # the library's stub fixes the number of columns
        "prefix",
        "name",
        "user_id",
        "project_id",
        "may_erase",
        "created",
        "expiry_date",
        "last_used_at",
        "state",
    )
    list_filter = ("revoked",)
    search_fields = ("prefix", "name", "user_id", "project_id")  # type: ignore[assignment]

    @admin.display(description="state", ordering="revoked")
    def state(self, key: APIKey) -> SafeString:
        state = "revoked" if key.revoked else "expired" if key.has_expired else "valid"
        return rendering.badge(state, COLOURS)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Whose key it is comes first. A key that is not created yet has no prefix and no last use."""
        owner = ("name", "user_id", "project_id", "may_erase", "expiry_date")
        return (*owner, "revoked", "prefix", "created", "last_used_at") if obj else owner

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """What a key opens and may do never changes: another need gets another key."""
        owner = ("user_id", "project_id", "may_erase", "created") if obj else ()
        return (*super().get_readonly_fields(request, cast(Model, obj)), "last_used_at", *owner)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """An id is one line of text, although its column has no limit of length."""
        if db_field.name in ("user_id", "project_id"):
            kwargs["widget"] = self.formfield_overrides[CharField]["widget"]
        return super().formfield_for_dbfield(db_field, request, **kwargs)
