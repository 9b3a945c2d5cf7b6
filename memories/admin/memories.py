"""The pages of memories: read one, and index or embed it again."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from memories.admin.links import NONE, link
from memories.indexing import repair
from memories.models import MemoryLog
from memories.records.queries import events_of, memories, similar_to, versions
from memories.records.sync_status import SyncStatus, filter_by_status
from memories.text import searchable_text
from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction, buttons, confirmed
from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly

COLOURS: dict[str, str] = {
    SyncStatus.PENDING: rendering.AMBER,
    SyncStatus.EMBEDDED: rendering.BLUE,
    SyncStatus.INDEXED: rendering.GREEN,
    SyncStatus.FAILED: rendering.RED,
}


def ids(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by().values_list("pk", flat=True))


INDEX_AGAIN = ConfirmedAction(
    name="Index again",
    consequence="will be written to the index again from PostgreSQL",
    done="will be written to the index again",
    noun=("memory", "memories"),
    eligible=lambda rows: rows,
    act=lambda rows, by, reason: repair.repair_memories(ids(rows)),
)
EMBED_AGAIN = ConfirmedAction(
    name="Embed again",
    consequence="will get new vectors from the embedder, and be written to the index again",
    done="will be embedded again",
    noun=("memory", "memories"),
    eligible=lambda rows: rows,
    act=lambda rows, by, reason: repair.embed_again(ids(rows)),
)


class SyncFilter(admin.SimpleListFilter):
    title = "sync status"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in SyncStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[MemoryLog]) -> QuerySet[MemoryLog]:
        return (
            filter_by_status(queryset, self.value() or "") if self.value() in SyncStatus.values else queryset
        )


@admin.register(MemoryLog)
class MemoryLogAdmin(ReadOnly, ModelAdmin[MemoryLog]):
    """Owners write their memories over the API; nobody edits them here."""

    list_display = ("id", "task", "agent", "user_id", "project_id", "date", "version", "state")
    list_filter = (SyncFilter,)
    list_per_page = 50
    search_fields = ("id",)
    search_help_text = "A memory's id, a user's or project's id as it is, or words of a task"
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = (confirmed(INDEX_AGAIN), confirmed(EMBED_AGAIN))
    shown = ("task", "user_id", "project_id", "agent", "date", "state", "sync_error", "decide")
    sections: Any = (
        ("Raw data", {"fields": ("shown_raw_data",)}),
        ("Versions, events and similar memories", {"fields": ("versions", "deliveries", "similar")}),
        ("Searched text", {"fields": ("searched",), "classes": ("collapse",)}),
        (
            "Embedding and index",
            {
                "fields": (
                    "version",
                    "created_at",
                    "updated_at",
                    "embedded_at",
                    "embedding_model",
                    "indexed_at",
                    "indexed_version",
                ),
                "classes": ("collapse",),
            },
        ),
    )
    readonly_fields = (*shown, *flatten_fieldsets(sections))

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

    @admin.display(description="sync status")
    def state(self, row: Any) -> SafeString:
        return rendering.badge(row.sync_status, COLOURS)

    @admin.display(description="last error")
    def sync_error(self, row: Any) -> str:
        return row.sync_error or "–"

    @admin.display(description="raw data")
    def shown_raw_data(self, row: MemoryLog) -> SafeString:
        return rendering.json_block(row.raw_data)

    @admin.display(description="searched text")
    def searched(self, row: MemoryLog) -> SafeString:
        text = searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data)
        return rendering.text_block(text)

    @admin.display(description="similar memories")
    def similar(self, row: MemoryLog) -> SafeString:
        near = ((link(memory), f"{memory.similarity:.3f}") for memory in similar_to(row))
        return format_html_join("", '<div>{} <span style="opacity:.7">{}</span></div>', near) or NONE

    @admin.display(description="versions")
    def versions(self, row: MemoryLog) -> SafeString:
        found = (
            (rendering.moment(state.pgh_created_at), state.pgh_label, state.version)
            for state in versions(row.id)
        )
        return format_html_join("", "<div>{} {}, version {}</div>", found)

    @admin.display(description="events")
    def deliveries(self, row: MemoryLog) -> SafeString:
        found = ((link(event), rendering.badge(event.status)) for event in events_of(row.id))
        return format_html_join("", "<div>{} {}</div>", found) or NONE

    def get_fieldsets(self, request: HttpRequest, obj: MemoryLog | None = None) -> Any:
        fields = self.shown if self.has_change_permission(request, obj) else self.shown[:-1]
        return ((None, {"fields": fields}), *self.sections)

    @admin.display(description="what you can do")
    def decide(self, row: MemoryLog) -> SafeString:
        return buttons(row, (INDEX_AGAIN, EMBED_AGAIN), self.admin_site.name, lead=False)
