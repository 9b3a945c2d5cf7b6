"""The pages of memories: find one, read it and its versions, index or embed it again, erase it."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter

from memories.admin import held, versions
from memories.admin.erasures import ERASE, ErasureAdmin
from memories.admin.links import NONE, link
from memories.admin.memory_filters import (
    AgentFilter,
    ProjectFilter,
    SyncFilter,
    UserFilter,
    VersionFilter,
    search,
    text_of,
)
from memories.indexing import repair
from memories.models import MemoryLog
from memories.records.queries import events_of, memories
from memories.records.sync_status import SyncStatus
from memories.search.like import find_like
from memories.search.results import SearchHit
from memories.search.search import Query
from memories.text import searchable_text
from outbox import Unavailable
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

# Characters of a task in the list, and what the page of a memory shows of the admin's log.
TASK = 120
SHOWN = 20
SIMILAR = 5
LIKE = '<div><a href="{}" style="text-decoration:underline">{}</a> <span style="opacity:.7">{}</span></div>'


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


def _page_of(hit: SearchHit) -> str:
    return reverse("admin:memories_memorylog_change", args=[hit.memory_log_id])


def _title(hit: SearchHit) -> str:
    return f"{str(hit.metadata['task'])[:TASK]} #{hit.memory_log_id}"


@admin.register(MemoryLog)
class MemoryLogAdmin(ReadOnly, ModelAdmin[MemoryLog]):
    """Owners write their memories over the API; nobody edits them here."""

    list_display = ("id", "what", "agent", "user_id", "project_id", "date", "version", "state")
    list_filter = (
        UserFilter,
        ProjectFilter,
        AgentFilter,
        ("date", RangeDateFilter),
        SyncFilter,
        VersionFilter,
    )
    # unfold: one button applies the filters in which a person writes, and a line above the list says what it shows.
    list_filter_submit = True
    list_before_template = "admin/memories/above_the_list.html"
    list_per_page = 50
    search_fields = ("id",)
    search_help_text = "A memory's id, or words of the memory"
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = (confirmed(INDEX_AGAIN), confirmed(EMBED_AGAIN), confirmed(ERASE))
    shown = ("task", "user_id", "project_id", "agent", "date", "state", "sync_error")
    sections: Any = (
        ("Raw data", {"fields": ("shown_raw_data",)}),
        (
            "Versions, events and similar memories",
            {"fields": ("history", "deliveries", "interventions", "indexed", "similar")},
        ),
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
    readonly_fields = (*shown, "decide", "forget", *flatten_fieldsets(sections))

    def get_queryset(self, request: HttpRequest) -> QuerySet[MemoryLog]:
        """The list does not read `raw_data`: fifty memories may have 50 MB."""
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("_changelist")
        return memories().defer("embedding", "raw_data") if is_list else memories()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        owner = {name: value for name in ("user_id", "project_id") if (value := text_of(request, name))}
        erase = f"{reverse('admin:memories_erasure_add')}?{urlencode(owner)}"
        may_erase = "user_id" in owner and self.has_erase_permission(request)
        return super().changelist_view(
            request, (extra_context or {}) | {"owner": owner, "erase": erase if may_erase else ""}
        )

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The history is on the memory's page: its versions, its events, and what people did."""
        page = reverse("admin:memories_memorylog_change", args=[object_id])
        return HttpResponseRedirect(f"{page}#versions")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return ErasureAdmin.may_erase(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MemoryLog], search_term: str
    ) -> tuple[QuerySet[MemoryLog], bool]:
        term = search_term.replace("\x00", "").strip()
        if not term:
            return queryset, False
        found = search(request, queryset, term)
        request.found_how = found.how  # type: ignore[attr-defined]  # for the line above the list
        return found.rows, False

    @admin.display(description="task", ordering="task")
    def what(self, row: MemoryLog) -> str:
        return row.task if len(row.task) <= TASK else f"{row.task[:TASK]}…"

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
    def similar(self, row: MemoryLog) -> SafeString | str:
        """By the search of the service. A memory that is not embedded yet is not embedded for this."""
        if row.embedding is None:
            return "not known yet, because it has no embedding"
        try:
            near = find_like(row, Query(text="", tenant=row.tenant, limit=SIMILAR)).found
        except Unavailable as error:
            return f"not known: {error}"
        return (
            format_html_join(
                "", LIKE, ((_page_of(hit), _title(hit), f"{hit.similarity:.3f}") for hit in near)
            )
            or NONE
        )

    @admin.display(description="versions")
    def history(self, row: MemoryLog) -> SafeString:
        return versions.rendered(row.id)

    @admin.display(description="in the index")
    def indexed(self, row: MemoryLog) -> SafeString:
        return held.rendered(row)

    @admin.display(description="what people did")
    def interventions(self, row: MemoryLog) -> SafeString:
        kind = ContentType.objects.get_for_model(MemoryLog)
        entries = LogEntry.objects.filter(content_type=kind, object_id=str(row.pk)).select_related("user")
        lines = (
            (rendering.moment(e.action_time), e.user.get_username(), e.get_change_message())
            for e in entries[:SHOWN]
        )
        return format_html_join("", "<div>{} {}: {}</div>", lines) or NONE

    @admin.display(description="events")
    def deliveries(self, row: MemoryLog) -> SafeString:
        found = ((link(event), rendering.badge(event.status)) for event in events_of(row.id))
        return format_html_join("", "<div>{} {}</div>", found) or NONE

    def get_fieldsets(self, request: HttpRequest, obj: MemoryLog | None = None) -> Any:
        decisions = ("decide",) if self.has_change_permission(request, obj) else ()
        erasing = ("forget",) if self.has_erase_permission(request) else ()
        return ((None, {"fields": (*self.shown, *decisions, *erasing)}), *self.sections)

    @admin.display(description="what you can do")
    def decide(self, row: MemoryLog) -> SafeString:
        return buttons(row, (INDEX_AGAIN, EMBED_AGAIN), self.admin_site.name, lead=False)

    @admin.display(description="forget it")
    def forget(self, row: MemoryLog) -> SafeString:
        return buttons(row, (ERASE,), self.admin_site.name, lead=False)
