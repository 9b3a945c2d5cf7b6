"""The admin's page of live updates: what reaches the index, as it does."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def live(request: HttpRequest) -> HttpResponse:
    """For superusers, as the updates of every tenant are."""
    context = {**admin.site.each_context(request), "title": "Live updates"}
    return TemplateResponse(request, "admin/live.html", context)
