"""Circuits: what is paused and why; a person may close one at once, or open one before a maintenance."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, confirmed
from outbox.admin.generic import ModelAdmin
from outbox.admin.reading import ReadOnly
from outbox.models import Circuit, Outage
from outbox.queue import circuits
from outbox.registry import types_needing

BY_HAND = timedelta(hours=1)
# How many a circuit's page tells of.
OUTAGES = 20


def _open(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    names = list(rows.values_list("dependency", flat=True))
    for name in names:
        circuits.open_manually(name, pause=BY_HAND, reason=f"opened by {by}: {reason}")
    return len(names)


def _close(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    return sum(circuits.close_circuit(name) for name in list(rows.values_list("dependency", flat=True)))


OPEN = ConfirmedAction(
    name="Open",
    consequence="would be left alone for an hour: the events that need it wait, and count no attempts",
    done="left alone for an hour",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows,
    act=_open,
    asks_reason=True,
)
CLOSE = ConfirmedAction(
    name="Close",
    consequence="would be tried again at once, with all events that wait for it",
    done="tried again",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(opened_at__isnull=False),
    act=_close,
)


@admin.register(Circuit)
class CircuitAdmin(ReadOnly, ModelAdmin[Circuit]):
    """All that handlers say they need, and what was found to be away besides."""

    list_display = ("dependency", "state", "waiting_types", "failures", "reason", "opened_at", "open_until")
    readonly_fields = (
        "dependency",
        "state",
        "waiting_types",
        "failures",
        "reason",
        "opened_at",
        "open_until",
        "outages",
    )
    fields = readonly_fields
    actions = (confirmed(OPEN), confirmed(CLOSE))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        circuits.list_dependencies()
        return super().changelist_view(request, extra_context)

    @admin.display(description="state")
    def state(self, circuit: Circuit) -> SafeString:
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
    """In whole seconds, at least one."""
    return timedelta(seconds=max(1, round((outage.closed_at - outage.opened_at).total_seconds())))
