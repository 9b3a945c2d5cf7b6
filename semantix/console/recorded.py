"""Every change that a page of the admin saves is recorded as an intervention, like every action."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.http import HttpRequest

from outbox.admin.confirmed_actions import subject
from outbox.operations.interventions import record


class Recorded:
    """A mixin for a ModelAdmin; name it before the others. Django calls these methods after each change."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        record("added", subject(obj), by=request.user.get_username())
        entry: LogEntry = super().log_addition(request, obj, message)  # type: ignore[misc]
        return entry

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        entry: LogEntry = super().log_change(request, obj, message)  # type: ignore[misc]
        record("changed", subject(obj), by=request.user.get_username(), reason=entry.get_change_message())
        return entry

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            record("deleted", subject(row), by=request.user.get_username())
        return super().log_deletions(request, queryset)  # type: ignore[misc]
