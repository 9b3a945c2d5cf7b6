"""The pages of events, with the memory and the tenant of each event."""

import re
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from memories.admin.links import NONE, link
from memories.event_types import AGGREGATES
from memories.models import MemoryLog
from outbox.admin import EventAdmin
from outbox.models import Event, Status

admin.site.unregister(Event)


class TenantFilter(admin.SimpleListFilter):
    """Offers the tenants of the newest dead letters. The search finds any other tenant as user/project."""

    title = "tenant"
    parameter_name = "tenant"
    newest = 1000

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        dead = Event.objects.filter(status=Status.DEAD).order_by("-id").values_list("payload", flat=True)
        tenants = {_tenant_of(payload) for payload in dead[: self.newest]} | {self.value() or ""}
        return [(tenant, tenant) for tenant in sorted(tenants - {""})]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(of_tenant(self.value() or "")) if self.value() else queryset


def _tenant_of(payload: Any) -> str:
    tenant = payload if isinstance(payload, dict) else {}
    return f"{tenant['user_id']}/{tenant['project_id']}" if {"user_id", "project_id"} <= tenant.keys() else ""


def of_tenant(name: str) -> Q:
    """The condition for the events of a tenant, named user/project. Both ids may contain slashes."""
    parts = name.split("/")
    tenants = (("/".join(parts[:n]), "/".join(parts[n:])) for n in range(1, len(parts)))
    wanted = (Q(payload__contains={"user_id": user, "project_id": project}) for user, project in tenants)
    return reduce(or_, wanted, Q(pk__in=[]))


@admin.register(Event)
class MemoryEventAdmin(EventAdmin):
    """The outbox knows nothing of memories: this page adds the memory and the tenant of each event."""

    # A row for each search: they would drown the others.
    hidden_types = ("vector.searched",)
    list_filter = (*EventAdmin.list_filter, TenantFilter)  # type: ignore[assignment]  # one longer
    search_help_text = f"{EventAdmin.search_help_text}; a tenant as user/project"
    shown = ("memory", "tenant", *EventAdmin.shown)
    readonly_fields = ("memory", "tenant", *EventAdmin.readonly_fields)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        # Either the tenant or the words of an error: with OR, PostgreSQL would read the whole table.
        return (queryset.filter(of_tenant(term)), False) if TENANT.fullmatch(term) else (found, duplicates)

    @admin.display(description="memory")
    def memory(self, event: Event) -> SafeString:
        if event.aggregatetype not in AGGREGATES or not event.aggregateid.isdecimal():
            return NONE
        row = MemoryLog.objects.filter(pk=int(event.aggregateid)).first()
        return link(row) if row else SafeString("deleted")

    @admin.display(description="tenant")
    def tenant(self, event: Event) -> str:
        return _tenant_of(event.payload) or NONE


# A word, a slash, a word. A path in the text of an error has more slashes.
TENANT = re.compile(r"[^/\s]+/[^/\s]+")
