"""The pages of circuits: which dependency is away and why. A person can try it, hold it for a maintenance, or
release it."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.admin.generic import ModelAdmin
from outbox.admin.reading import ReadOnly
from outbox.models import Circuit, Outage
from outbox.queue import circuits, probes
from outbox.registry import types_needing

HOLD_FOR = timedelta(hours=1)
# How many past outages the page of a circuit shows.
OUTAGES = 20


def _hold(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    names = list(rows.values_list("dependency", flat=True))
    for name in names:
        circuits.hold(name, pause=HOLD_FOR, reason=f"held by {by}: {reason}")
    return len(names)


def _try_now(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    names = list(rows.values_list("dependency", flat=True))
    for name in names:
        probes.release_probe(name)
    return len(names)


def _release(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    return sum(circuits.release(name) for name in list(rows.values_list("dependency", flat=True)))


def _is_held() -> Q:
    return Q(held_until__gt=Now())


TRY_NOW = ConfirmedAction(
    name="Try now",
    consequence="will be tried at once with one event; if it answers, all events that wait for it go on",
    done="will be tried at once",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(opened_at__isnull=False).exclude(_is_held()),
    act=_try_now,
)
HOLD = ConfirmedAction(
    name="Hold for an hour",
    consequence="will not be called for an hour: the events that need it wait and lose no attempt",
    done="held for an hour",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows,
    act=_hold,
    asks_reason=True,
)
RELEASE = ConfirmedAction(
    name="Release",
    consequence="will be called again at once, by all events that wait for it",
    done="released",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(Q(opened_at__isnull=False) | _is_held()),
    act=_release,
)


@admin.register(Circuit)
class CircuitAdmin(ReadOnly, ModelAdmin[Circuit]):
    """The dependencies that handlers name, and others that were found to be away."""

    list_display = ("dependency", "state", "waiting_types", "failures", "why", "opened_at", "open_until")
    readonly_fields = (
        "dependency",
        "state",
        "decide",
        "why",
        "held_until",
        "opened_at",
        "open_until",
        "failures",
        "waiting_types",
        "outages",
    )
    actions = (confirmed(TRY_NOW), confirmed(HOLD), confirmed(RELEASE))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        circuits.list_dependencies()
        return super().changelist_view(request, extra_context)

    def get_fields(self, request: HttpRequest, obj: Circuit | None = None) -> Any:
        may_decide = self.has_change_permission(request, obj)
        return [field for field in self.readonly_fields if may_decide or field != "decide"]

    @admin.display(description="what you can do")
    def decide(self, circuit: Circuit) -> SafeString:
        this = Circuit.objects.filter(pk=circuit.pk)
        possible = [action for action in (TRY_NOW, HOLD, RELEASE) if action.eligible(this).exists()]
        return buttons(circuit, possible, self.admin_site.name, lead=circuit.opened_at is not None)

    @admin.display(description="reason")
    def why(self, circuit: Circuit) -> str:
        return "; ".join(filter(None, (circuit.hold_reason, circuit.reason)))

    @admin.display(description="state")
    def state(self, circuit: Circuit) -> SafeString:
        if circuit.held_until and circuit.held_until > timezone.now():
            return rendering.badge("held")
        return rendering.badge("open" if circuit.opened_at else "closed")

    @admin.display(description="events that need it")
    def waiting_types(self, circuit: Circuit) -> str:
        return ", ".join(sorted({*circuit.types, *types_needing(circuit.dependency)}))

    @admin.display(description="last outages")
    def outages(self, circuit: Circuit) -> SafeString:
        found = Outage.objects.filter(dependency=circuit.dependency)[:OUTAGES]
        lines = ((rendering.moment(o.opened_at), _length(o), o.reason) for o in found)
        return format_html_join("", "<div>{}, for {}: {}</div>", lines) or SafeString("none on record")


def _length(outage: Outage) -> timedelta:
    """How long it lasted, in whole seconds, at least one."""
    return timedelta(seconds=max(1, round((outage.closed_at - outage.opened_at).total_seconds())))
