"""The page of event types: what waits, what runs and what died of each. A person can pause and resume it."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.circuits import HOLD_TIMES, DecisionPages, hold_time
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.models import EventType
from outbox.operations import pauses
from outbox.operations.statistics import TypeStatistics, backlog
from outbox.registry import handler_of

NOUN = ("event type", "event types")


def _pause(rows: QuerySet[EventType], by: str, reason: str, choice: str) -> int:
    types = [row.name for row in rows]
    for type in types:
        pauses.pause_type(type, by=by, reason=reason, pause=hold_time(choice))
    return len(types)


def _resume(rows: QuerySet[EventType], by: str, reason: str) -> int:
    return sum(pauses.resume_type(row.name, by=by) for row in list(rows))


def _is_paused() -> Q:
    return Q(held_until__gt=Now())


PAUSE = ConfirmedAction(
    name="Pause",
    consequence="will not be delivered: their events wait, lose no attempt, and go on when the pause ends",
    done="paused",
    noun=NOUN,
    eligible=lambda rows: rows,
    act=_pause,
    asks_reason=True,
    choices=HOLD_TIMES,
    is_recorded=True,
)
RESUME = ConfirmedAction(
    name="Resume",
    consequence="will be delivered again at once",
    done="resumed",
    noun=NOUN,
    eligible=lambda rows: rows.filter(_is_paused()),
    act=_resume,
    is_recorded=True,
)


@admin.register(EventType)
class EventTypeAdmin(DecisionPages[EventType]):
    list_display = ("name", "state", "waiting", "in_hand", "died", "oldest", "needs", "why")
    list_per_page = 200
    show_full_result_count = False
    readonly_fields = ("name", "state", "decide", "why", "waiting", "in_hand", "died", "oldest", "needs")
    actions = (confirmed(PAUSE), confirmed(RESUME))
    ordering = ("dependency",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Count the events of all types of the page in one query."""
        page = super().get_changelist_instance(request)
        counts = backlog()
        rows = list(page.result_list)
        for row in rows:
            row.statistics = counts.get(row.name, TypeStatistics())
        page.result_list = rows
        return page

    @admin.display(description="event type", ordering="dependency")
    def name(self, row: EventType) -> str:
        return row.name

    @admin.display(description="state")
    def state(self, row: EventType) -> SafeString:
        if row.is_held:
            return rendering.badge("paused")
        return rendering.badge("on") if handler_of(row.name) else rendering.badge("no handler")

    @admin.display(description="what you can do")
    def decide(self, row: EventType) -> SafeString:
        possible = [RESUME, PAUSE] if row.is_held else [PAUSE]
        return buttons(row, possible, self.admin_site.name, lead=row.is_held)

    @admin.display(description="waiting")
    def waiting(self, row: EventType) -> SafeString:
        return self._link(row, "pending", _statistics(row).pending)

    @admin.display(description="in hand")
    def in_hand(self, row: EventType) -> SafeString:
        return self._link(row, "claimed", _statistics(row).claimed)

    @admin.display(description="dead letters")
    def died(self, row: EventType) -> SafeString:
        return self._link(row, "dead", _statistics(row).dead)

    @admin.display(description="oldest waits")
    def oldest(self, row: EventType) -> str:
        seconds = _statistics(row).oldest_pending_seconds
        return "–" if seconds is None else rendering.duration(seconds)

    @admin.display(description="needs")
    def needs(self, row: EventType) -> str:
        handler = handler_of(row.name)
        return ", ".join(sorted(handler.needs)) if handler and handler.needs else "–"

    @admin.display(description="reason")
    def why(self, row: EventType) -> str:
        if not row.is_held:
            return "–"
        end = rendering.moment(row.hold_ends) if row.hold_ends else "somebody resumes it"
        return f"{row.hold_reason}, until {end}"

    def _link(self, row: EventType, status: str, count: int) -> SafeString:
        page = reverse(f"{self.admin_site.name}:outbox_event_changelist")
        return format_html(
            '<a href="{}?type={}&amp;status__exact={}">{}</a>', page, row.name, status, f"{count:,}"
        )


def _statistics(row: Any) -> TypeStatistics:
    """The counts of the row's type: of the list, or read for the row's own page."""
    if not hasattr(row, "statistics"):
        row.statistics = backlog().get(row.name, TypeStatistics())
    found: TypeStatistics = row.statistics
    return found
