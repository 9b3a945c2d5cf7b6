"""Links between the admin's pages."""

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

NONE = SafeString("–")


def link(row: Model) -> SafeString:
    """A link to the page of the row, with its text."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"  # noqa: SLF001
    return format_html(
        '<a href="{}" style="text-decoration:underline">{}</a>', reverse(name, args=[row.pk]), row
    )
