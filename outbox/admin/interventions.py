"""The page that says who did what. Nobody changes it."""

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly
from outbox.models import Intervention


@admin.register(Intervention)
class InterventionAdmin(ReadOnly, ModelAdmin[Intervention]):
    list_display = ("at", "by", "action", "changed", "reason")
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    paginator = BoundedPaginator
    search_fields = ("by__exact",)
    search_help_text = "A user of the admin, or the account that ran a command"
    ordering = ("-id",)
    fields = readonly_fields = ("at", "by", "action", "changed", "reason")
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: Intervention | None = None) -> bool:
        return False

    @admin.display(description="what")
    def changed(self, row: Intervention) -> str | SafeString:
        if row.event_id is None:
            return row.subject
        page = reverse(f"{self.admin_site.name}:outbox_event_change", args=[row.event_id])
        return format_html('<a href="{}" style="text-decoration:underline">event {}</a>', page, row.event_id)
