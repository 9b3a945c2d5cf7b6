"""The pages of circuits: which dependency is away and why. A person can try it, hold it for a maintenance, or
release it."""

from datetime import timedelta
from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import F, Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.admin.generic import ModelAdmin
from outbox.admin.reading import ReadOnly
from outbox.models import TYPE_PREFIX, Circuit, Outage
from outbox.operations import pauses
from outbox.operations.statistics import backlog
from outbox.queue import circuits
from outbox.registry import types_needing

Decided = TypeVar("Decided", bound=Model)

HOLD_TIMES = (
    ("3600", "for an hour"),
    ("14400", "for 4 hours"),
    ("86400", "for a day"),
    ("", "until somebody ends it"),
)
# How many past outages the page of a circuit shows.
OUTAGES = 20


def hold_time(choice: str) -> timedelta | None:
    """The length of a hold that a person chose from HOLD_TIMES; None: until somebody ends it."""
    return timedelta(seconds=int(choice)) if choice else None


def _hold(rows: QuerySet[Circuit], by: str, reason: str, choice: str) -> int:
    names = _names(rows)
    for name in names:
        pauses.hold(name, by=by, reason=reason, pause=hold_time(choice))
    return len(names)


def _try_now(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    names = _names(rows)
    for name in names:
        pauses.try_now(name, by=by)
    return len(names)


def _release(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    return sum(pauses.release(name, by=by) for name in _names(rows))


def _names(rows: QuerySet[Circuit]) -> list[str]:
    return list(rows.values_list("dependency", flat=True))


def _is_held() -> Q:
    return Q(held_until__gt=Now())


TRY_NOW = ConfirmedAction(
    name="Try now",
    consequence="will be tried at once with one event; if it answers, all events that wait for it go on",
    done="will be tried at once",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(opened_at__isnull=False).exclude(_is_held()),
    act=_try_now,
    is_recorded=True,
)
HOLD = ConfirmedAction(
    name="Hold",
    consequence="will not be called: the events that need it wait and lose no attempt",
    done="held",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows,
    act=_hold,
    asks_reason=True,
    choices=HOLD_TIMES,
    is_recorded=True,
)
RELEASE = ConfirmedAction(
    name="Release",
    consequence="will be called again at once, by all events that wait for it",
    done="released",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(Q(opened_at__isnull=False) | _is_held()),
    act=_release,
    is_recorded=True,
)


class DecisionPages(ReadOnly, ModelAdmin[Decided]):
    """Pages of dependencies or event types: each that the handlers name has a row, and a person decides about it."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        circuits.list_all()
        return super().changelist_view(request, extra_context)

    def get_fields(self, request: HttpRequest, obj: Decided | None = None) -> Any:
        may_decide = self.has_change_permission(request, obj)
        return [field for field in self.readonly_fields if may_decide or field != "decide"]


@admin.register(Circuit)
class CircuitAdmin(DecisionPages[Circuit]):
    """The dependencies that handlers name, and others that were found to be away."""

    list_display = ("dependency", "state", "waiting", "failures", "why", "opened_at", "open_until")
    readonly_fields = (
        "dependency",
        "state",
        "decide",
        "since",
        "why",
        "last_probe",
        "next_probe",
        "hold",
        "waiting",
        "outages",
    )
    actions = (confirmed(TRY_NOW), confirmed(HOLD), confirmed(RELEASE))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Circuit]:
        """Event types have a page of their own."""
        return super().get_queryset(request).exclude(dependency__startswith=TYPE_PREFIX)

    def get_ordering(self, request: HttpRequest) -> Any:
        """What is away comes first."""
        return (F("opened_at").asc(nulls_last=True), "dependency")

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Count the waiting events of all rows of the page in one query."""
        page = super().get_changelist_instance(request)
        counts = backlog()
        rows = list(page.result_list)
        for row in rows:
            row.backlog = counts
        page.result_list = rows
        return page

    @admin.display(description="what you can do")
    def decide(self, circuit: Circuit) -> SafeString:
        this = Circuit.objects.filter(pk=circuit.pk)
        possible = [action for action in (TRY_NOW, RELEASE, HOLD) if action.eligible(this).exists()]
        return buttons(circuit, possible, self.admin_site.name, lead=possible[0] is not HOLD)

    @admin.display(description="state")
    def state(self, circuit: Circuit) -> SafeString:
        if circuit.is_held:
            return rendering.badge("held")
        return rendering.badge("open" if circuit.opened_at else "closed")

    @admin.display(description="away since")
    def since(self, circuit: Circuit) -> str:
        if circuit.opened_at is None:
            return "it answers, as far as is known: its circuit is closed"
        lasts = timezone.now() - circuit.opened_at
        return f"{rendering.moment(circuit.opened_at)}, for {rendering.duration(lasts.total_seconds())}"

    @admin.display(description="reason")
    def why(self, circuit: Circuit) -> str:
        return "; ".join(filter(None, (circuit.hold_reason, circuit.reason))) or "–"

    @admin.display(description="last probe")
    def last_probe(self, circuit: Circuit) -> str:
        if circuit.opened_at and circuit.tried_at:
            times = f"{circuit.failures} {'time' if circuit.failures == 1 else 'times'} in a row"
            return f"at {rendering.moment(circuit.tried_at)} it did not answer, {times}: {circuit.reason}"
        last = Outage.objects.filter(dependency=circuit.dependency).first()
        return f"at {rendering.moment(last.closed_at)} it answered again" if last else "none so far"

    @admin.display(description="next probe")
    def next_probe(self, circuit: Circuit) -> str:
        if circuit.opened_at is None:
            return "none: each event that needs it calls it"
        if circuit.is_held:
            return "none while it is held"
        if circuit.open_until is None or circuit.open_until <= timezone.now():
            return "now, with one event"
        return f"at {rendering.moment(circuit.open_until)}, with one event"

    @admin.display(description="hold")
    def hold(self, circuit: Circuit) -> str:
        if not circuit.is_held:
            return "nobody holds it"
        begin = f"since {rendering.moment(circuit.held_at)} " if circuit.held_at else ""
        end = rendering.moment(circuit.hold_ends) if circuit.hold_ends else "somebody releases it"
        return f"{circuit.hold_reason}, {begin}until {end}"

    @admin.display(description="events that need it, and how many wait")
    def waiting(self, circuit: Any) -> SafeString:
        counts = circuit.backlog if hasattr(circuit, "backlog") else backlog()
        page = reverse(f"{self.admin_site.name}:outbox_event_changelist")
        types = sorted({*circuit.types, *types_needing(circuit.dependency)})
        lines = ((page, type, type, f"{counts[type].pending:,}" if type in counts else "0") for type in types)
        found = format_html_join(
            "",
            '<div><a href="{}?type={}&amp;status__exact=pending" style="text-decoration:underline">{}</a> {}</div>',
            lines,
        )
        # In one box: on a phone, the list puts the parts of a cell next to each other.
        return format_html("<div>{}</div>", found or "no event type needs it")

    @admin.display(description="last outages")
    def outages(self, circuit: Circuit) -> SafeString:
        found = Outage.objects.filter(dependency=circuit.dependency)[:OUTAGES]
        lines = (
            (
                rendering.moment(outage.opened_at),
                rendering.duration((outage.closed_at - outage.opened_at).total_seconds()),
                f"{outage.failures} {'try' if outage.failures == 1 else 'tries'} failed",
                outage.reason,
            )
            for outage in found
        )
        return format_html_join("", "<div>{}, for {}, {}: {}</div>", lines) or SafeString("none on record")
