"""Circuits: what is paused and why; a person may close one at once, or open one before a maintenance."""

from datetime import timedelta

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from outbox import circuits
from outbox.admin import rendering
from outbox.models import Circuit

BY_HAND = timedelta(hours=1)


@admin.register(Circuit)
class CircuitAdmin(admin.ModelAdmin[Circuit]):
    list_display = ("dependency", "state", "failures", "reason", "opened_at", "open_until")
    readonly_fields = ("dependency", "state", "failures", "reason", "opened_at", "open_until")
    fields = readonly_fields
    actions = ("close", "open")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Circuit | None = None) -> bool:
        return False

    @admin.display(description="state")
    def state(self, circuit: Circuit) -> SafeString:
        return rendering.badge("open" if circuit.opened_at else "closed")

    @admin.action(description="Close: let its events be tried now", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Circuit]) -> None:
        for circuit in queryset:
            if circuits.close_circuit(circuit.dependency):
                self._tell(request, circuit, "closed by hand")

    @admin.action(description="Open for an hour: let its events wait", permissions=["change"])
    def open(self, request: HttpRequest, queryset: QuerySet[Circuit]) -> None:
        for circuit in queryset:
            Circuit.objects.filter(pk=circuit.pk).update(
                opened_at=Now(),
                open_until=Now() + BY_HAND,
                reason=f"opened by {request.user.get_username()}",
            )
            self._tell(request, circuit, "opened by hand for an hour")

    def _tell(self, request: HttpRequest, circuit: Circuit, message: str) -> None:
        self.log_change(request, circuit, message)
        messages.success(request, f"{circuit.dependency}: {message}.")
