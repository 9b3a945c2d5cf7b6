"""Events: find one, read why it failed, try it again."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.admin.filters import AgeFilter, ErrorFilter, TypeFilter
from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly
from outbox.models import Event, Status
from outbox.operations import dead_letters, replay

RETRY = ConfirmedAction(
    name="Retry",
    consequence="would wait for delivery again, with all attempts before them",
    done="retried",
    eligible=lambda rows: rows.filter(status__in=dead_letters.RETRYABLE),
    act=lambda rows, by, reason: dead_letters.retry(events=rows, by=by, reason=reason),
)
DISCARD = ConfirmedAction(
    name="Discard",
    consequence="would be given up: never delivered, kept on record",
    done="discarded",
    eligible=lambda rows: rows.filter(status__in=dead_letters.DISCARDABLE),
    act=lambda rows, by, reason: dead_letters.discard(events=rows, by=by, reason=reason),
    asks_reason=True,
)
REPLAY = ConfirmedAction(
    name="Replay",
    consequence="that were delivered would be published again, at bulk priority",
    done="replayed",
    eligible=replay.replayable,
    act=lambda rows, by, reason: replay.replay(events=rows),
)


@admin.register(Event)
class EventAdmin(ReadOnly, ModelAdmin[Event]):
    """Nothing here is edited: events are history. What a person decides is an action."""

    list_display = ("id", "type", "subject", "state", "attempts", "error", "created_at", "delivered_at")
    list_filter = ("status", TypeFilter, AgeFilter, ErrorFilter)
    list_per_page = 50
    search_fields = ("id",)
    search_help_text = "An event's id, an aggregate's id, or words of the error of an event that failed"
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = (confirmed(RETRY), confirmed(DISCARD), confirmed(REPLAY))
    fields = (
        "type",
        "subject",
        "state",
        "decide",
        "history",
        "shown_payload",
        "shown_headers",
        "priority",
        "available_at",
    )
    readonly_fields = fields

    def get_fields(self, request: HttpRequest, obj: Event | None = None) -> Any:
        fields = super().get_fields(request, obj)
        return fields if self.has_change_permission(request, obj) else [f for f in fields if f != "decide"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        rows = super().get_queryset(request)
        return rows.defer("payload", "headers") if request.resolver_match and self._is_list(request) else rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(aggregateid=term)
        if term.isdecimal() and len(term) < 19:
            wanted |= Q(pk=int(term))
        # Only what failed has an error; what was delivered is most of the table, and is not read for it.
        wanted |= Q(last_error__icontains=term) & ~Q(status=Status.DELIVERED)
        return queryset.filter(wanted), False

    @staticmethod
    def _is_list(request: HttpRequest) -> bool:
        assert request.resolver_match is not None
        return (request.resolver_match.url_name or "").endswith("_changelist")

    @admin.display(description="aggregate")
    def subject(self, event: Event) -> str:
        return f"{event.aggregatetype} {event.aggregateid}"

    @admin.display(description="status", ordering="status")
    def state(self, event: Event) -> SafeString:
        return rendering.badge(event.status)

    @admin.display(description="last error")
    def error(self, event: Event) -> str:
        return event.last_error[:120]

    @admin.display(description="what can be done")
    def decide(self, event: Event) -> SafeString:
        this = Event.objects.filter(pk=event.pk)
        possible = [deed for deed in (RETRY, DISCARD, REPLAY) if deed.eligible(this).exists()]
        return buttons(event, possible, self.admin_site.name)

    @admin.display(description="what happened")
    def history(self, event: Event) -> SafeString:
        return rendering.timeline(event)

    @admin.display(description="payload")
    def shown_payload(self, event: Event) -> SafeString:
        return rendering.json_block(event.payload)

    @admin.display(description="headers")
    def shown_headers(self, event: Event) -> SafeString:
        return rendering.json_block(event.headers)
