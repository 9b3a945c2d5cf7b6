import re
from functools import reduce
from operator import or_
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey as LibrarysOwn

from memories import repairing
from memories.conversations import admin as _conversations  # noqa: F401 - registers them
from memories.models import APIKey, MemoryLog
from memories.progress import SyncStatus, only
from memories.selectors import AGGREGATES, events_of, memories, similar_to, versions
from memories.text import searchable_text
from outbox.admin import EventAdmin, rendering
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly
from outbox.models import Event, Status

admin.site.unregister(LibrarysOwn)
admin.site.unregister(Event)


class SyncFilter(admin.SimpleListFilter):
    title = "on its way"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in SyncStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> QuerySet[MemoryLog]:
        return only(queryset, self.value() or "") if self.value() in SyncStatus.values else queryset


@admin.register(MemoryLog)
class MemoryLogAdmin(ReadOnly, admin.ModelAdmin[MemoryLog]):
    """Memories are read here; they are written by their owners, over the API."""

    list_display = ("id", "task", "agent", "user_id", "project_id", "date", "version", "state")
    list_filter = (SyncFilter,)
    list_per_page = 50
    search_fields = ("id",)
    search_help_text = "A memory's id, a user's or project's id as it is, or words of a task"
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = ("index_again", "embed_again")
    fields = (
        "task",
        "agent",
        "date",
        "user_id",
        "project_id",
        "version",
        "state",
        "sync_error",
        "shown_raw_data",
        "searched",
        "similar",
        "versions",
        "deliveries",
        "created_at",
        "updated_at",
        "embedded_at",
        "embedding_model",
        "indexed_at",
        "indexed_version",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[MemoryLog]:
        return memories()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MemoryLog], search_term: str
    ) -> tuple[QuerySet[MemoryLog], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(user_id=term) | Q(project_id=term) | Q(task__icontains=term)
        if term.isdecimal() and len(term) < 19:
            wanted |= Q(pk=int(term))
        return queryset.filter(wanted), False

    @admin.display(description="sync")
    def state(self, row: Any) -> SafeString:
        return rendering.badge(row.sync_status)

    @admin.display(description="last error")
    def sync_error(self, row: Any) -> str:
        return row.sync_error or "–"

    @admin.display(description="raw data")
    def shown_raw_data(self, row: MemoryLog) -> SafeString:
        return rendering.json_block(row.raw_data)

    @admin.display(description="searched text")
    def searched(self, row: MemoryLog) -> SafeString:
        text = searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
        return format_html('<pre style="white-space:pre-wrap;font-size:13px">{}</pre>', text)

    @admin.display(description="similar memories")
    def similar(self, row: MemoryLog) -> SafeString:
        found = ((link(near), f"{near.similarity:.3f}") for near in similar_to(row))
        return format_html_join("", '<div>{} <span style="opacity:.7">{}</span></div>', found) or NONE

    @admin.display(description="versions")
    def versions(self, row: MemoryLog) -> SafeString:
        found = (
            (rendering.moment(state.pgh_created_at), state.pgh_label, state.version)
            for state in versions(row.id)
        )
        return format_html_join("", "<div>{} {}, version {}</div>", found)

    @admin.display(description="its events")
    def deliveries(self, row: MemoryLog) -> SafeString:
        found = ((link(event), rendering.badge(event.status)) for event in events_of(row.id))
        return format_html_join("", "<div>{} {}</div>", found) or NONE

    @admin.action(description="Index again: write what PostgreSQL has to Chroma", permissions=["change"])
    def index_again(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> None:
        self._tell(request, repairing.memories(ids(queryset)), "will be written to the index again")

    @admin.action(description="Embed again: make new vectors", permissions=["change"])
    def embed_again(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> None:
        self._tell(request, repairing.embeddings(ids(queryset)), "will be embedded again")

    def _tell(self, request: HttpRequest, count: int, what: str) -> None:
        messages.success(request, f"{count} memories {what}.")


class TenantFilter(admin.SimpleListFilter):
    """The tenants of the newest dead letters; any other by the search, as user/project."""

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
    """user/project, however many slashes either has in it."""
    parts = name.split("/")
    tenants = (("/".join(parts[:n]), "/".join(parts[n:])) for n in range(1, len(parts)))
    wanted = (Q(payload__contains={"user_id": user, "project_id": project}) for user, project in tenants)
    return reduce(or_, wanted, Q(pk__in=[]))


@admin.register(Event)
class MemoryEventAdmin(EventAdmin):
    """The outbox's page, which knows nothing of memories, with the memory and the tenant of each event."""

    list_filter = (*EventAdmin.list_filter, TenantFilter)  # type: ignore[assignment]  # one longer
    search_help_text = f"{EventAdmin.search_help_text}; a tenant as user/project"
    fields = ("memory", *EventAdmin.fields)  # type: ignore[assignment]
    readonly_fields = fields  # type: ignore[assignment]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        # Not beside a word of an error: whole tables would be read for either.
        return (queryset.filter(of_tenant(term)), False) if TENANT.fullmatch(term) else (found, duplicates)

    @admin.display(description="memory")
    def memory(self, event: Event) -> SafeString:
        if event.aggregatetype not in AGGREGATES or not event.aggregateid.isdecimal():
            return NONE
        row = MemoryLog.objects.filter(pk=int(event.aggregateid)).first()
        return link(row) if row else SafeString("deleted")


# A word, a slash, a word: a path in an error's text has more of them, or a dot.
TENANT = re.compile(r"[^/\s]+/[^/\s]+")
NONE = SafeString("–")


def ids(rows: QuerySet[MemoryLog]) -> list[int]:
    return list(MemoryLog.objects.filter(pk__in=rows.order_by().values("pk")).values_list("pk", flat=True))


def link(row: Model) -> SafeString:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"  # noqa: SLF001
    return format_html(
        '<a href="{}" style="text-decoration:underline">{}</a>', reverse(name, args=[row.pk]), row
    )


@admin.register(APIKey)
class APIKeyAdmin(APIKeyModelAdmin):
    """The key itself is shown once, after it was made. To let nobody in with it any more: revoke it."""

    list_display = (  # type: ignore[assignment]  # the library names the length of its own
        "prefix",
        "name",
        "user_id",
        "project_id",
        "created",
        "expiry_date",
        "last_used_at",
        "state",
    )
    list_filter = ("revoked",)
    search_fields = ("prefix", "name", "user_id", "project_id")  # type: ignore[assignment]

    @admin.display(description="state", ordering="revoked")
    def state(self, key: APIKey) -> SafeString:
        return rendering.badge("revoked" if key.revoked else "expired" if key.has_expired else "valid")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Whose a key is never changes: another tenant gets another key."""
        scope = ("user_id", "project_id") if obj else ()
        return (*super().get_readonly_fields(request, cast(Model, obj)), "last_used_at", *scope)
