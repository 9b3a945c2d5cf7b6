"""Circuits: what is paused and why; a person may close one at once, or open one before a maintenance."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from outbox import circuits
from outbox.admin import rendering
from outbox.admin.confirming import Deed, confirmed
from outbox.models import Circuit
from outbox.registry import types_needing

BY_HAND = timedelta(hours=1)


def _open(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    names = list(rows.values_list("dependency", flat=True))
    for name in names:
        circuits.hold_open(name, pause=BY_HAND, reason=f"opened by {by}: {reason}")
    return len(names)


def _close(rows: QuerySet[Circuit], by: str, reason: str) -> int:
    return sum(circuits.close_circuit(name) for name in list(rows.values_list("dependency", flat=True)))


OPEN = Deed(
    name="Open",
    consequence="would be left alone for an hour: the events that need it wait, and count no attempts",
    done="left alone for an hour",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows,
    act=_open,
    asks_reason=True,
)
CLOSE = Deed(
    name="Close",
    consequence="would be tried again at once, with all events that wait for it",
    done="tried again",
    noun=("dependency", "dependencies"),
    eligible=lambda rows: rows.filter(opened_at__isnull=False),
    act=_close,
)


@admin.register(Circuit)
class CircuitAdmin(admin.ModelAdmin[Circuit]):
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
    )
    fields = readonly_fields
    actions = (confirmed(OPEN), confirmed(CLOSE))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        return False

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
