"""Memories in the admin: to be read, and indexed or embedded again."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.admin.links import NONE, link
from memories.indexing import repair
from memories.models import MemoryLog
from memories.records.queries import events_of, memories, similar_to, versions
from memories.records.sync_status import SyncStatus, filter_by_status
from memories.text import searchable_text
from outbox.admin import rendering
from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly


class SyncFilter(admin.SimpleListFilter):
    title = "on its way"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in SyncStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> QuerySet[MemoryLog]:
        return (
            filter_by_status(queryset, self.value() or "") if self.value() in SyncStatus.values else queryset
        )


@admin.register(MemoryLog)
class MemoryLogAdmin(ReadOnly, ModelAdmin[MemoryLog]):
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
        self._tell(request, repair.repair_memories(ids(queryset)), "will be written to the index again")

    @admin.action(description="Embed again: make new vectors", permissions=["change"])
    def embed_again(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> None:
        self._tell(request, repair.embed_again(ids(queryset)), "will be embedded again")

    def _tell(self, request: HttpRequest, count: int, what: str) -> None:
        messages.success(request, f"{count} memories {what}.")


def ids(rows: QuerySet[MemoryLog]) -> list[int]:
    return list(MemoryLog.objects.filter(pk__in=rows.order_by().values("pk")).values_list("pk", flat=True))
