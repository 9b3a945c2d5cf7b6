"""Pages that show rows and change none: no row is added, edited or deleted there."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


class ReadOnly:
    """A mixin for a ModelAdmin or an inline; name it before them. Actions still need the permission to change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the row. Raises PermissionDenied for a form that is sent: saving it would write back old columns."""
        if request.method == "POST":
            raise PermissionDenied
        nothing_to_save = {"show_save": False, "show_save_and_continue": False}
        context = (extra_context or {}) | nothing_to_save
        return super().changeform_view(request, object_id, form_url, context)  # type: ignore[misc]
