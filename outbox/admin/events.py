"""The pages of events: find an event, read why it failed, and retry or discard it."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.admin.filters import AgeFilter, ErrorFilter, ErrorGroupFilter, TypeFilter
from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly
from outbox.models import Event, Status
from outbox.operations import dead_letters, replay
from outbox.operations.explanation import explain

RETRY = ConfirmedAction(
    name="Retry",
    consequence="will wait for delivery again, with all attempts ahead",
    done="retried",
    eligible=lambda rows: rows.filter(status__in=dead_letters.RETRYABLE),
    act=lambda rows, by, reason: dead_letters.retry(events=rows, by=by, reason=reason),
    is_recorded=True,
)
DISCARD = ConfirmedAction(
    name="Discard",
    consequence="will never be delivered, and stay on record",
    done="discarded",
    eligible=lambda rows: rows.filter(status__in=dead_letters.DISCARDABLE),
    act=lambda rows, by, reason: dead_letters.discard(events=rows, by=by, reason=reason),
    asks_reason=True,
    is_recorded=True,
)
REPLAY = ConfirmedAction(
    name="Replay",
    consequence="will be published again, at bulk priority",
    done="replayed",
    eligible=replay.replayable,
    act=lambda rows, by, reason: replay.replay(events=rows),
)


@admin.register(Event)
class EventAdmin(ReadOnly, ModelAdmin[Event]):
    """Events are history, so no page edits them. A person decides by an action."""

    list_display = ("id", "type", "subject", "state", "attempts", "error", "created_at", "delivered_at")
    list_filter = ("status", TypeFilter, AgeFilter, ErrorFilter, ErrorGroupFilter)
    # Types that the list leaves out until a person asks for them.
    hidden_types: tuple[str, ...] = ()
    list_per_page = 50
    search_fields = ("id",)
    search_help_text = "An event's id, an aggregate's id, or words of the error of an event that failed"
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = (confirmed(RETRY), confirmed(DISCARD), confirmed(REPLAY))
    # What it is, what to do, what happened; the rest is folded.
    shown: tuple[str, ...] = ("type", "subject", "state", "explanation", "decide", "history")
    folded = ("shown_payload", "shown_headers", "priority", "attempts", "available_at")
    readonly_fields = (*shown, *folded)

    def get_fieldsets(self, request: HttpRequest, obj: Event | None = None) -> Any:
        fields = self.shown
        if not self.has_change_permission(request, obj):
            fields = tuple(field for field in fields if field != "decide")
        return (
            (None, {"fields": fields}),
            ("Payload and headers", {"fields": self.folded, "classes": ("collapse",)}),
        )

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
        # Most of the table is delivered and has no error: exclude it, so that the search does not read it.
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

    @admin.display(description="what it waits for")
    def explanation(self, event: Event) -> str:
        return explain(event)

    @admin.display(description="what you can do")
    def decide(self, event: Event) -> SafeString:
        """Buttons. One stands out only where nothing happens without a person."""
        this = Event.objects.filter(pk=event.pk)
        possible = [action for action in (RETRY, DISCARD, REPLAY) if action.eligible(this).exists()]
        lead = event.status in dead_letters.RETRYABLE
        return buttons(event, possible, self.admin_site.name, lead=lead)

    @admin.display(description="what happened")
    def history(self, event: Event) -> SafeString:
        return rendering.timeline(event)

    @admin.display(description="payload")
    def shown_payload(self, event: Event) -> SafeString:
        return rendering.json_block(event.payload)

    @admin.display(description="headers")
    def shown_headers(self, event: Event) -> SafeString:
        return rendering.json_block(event.headers)
