"""The pages of conversations: turns that wait, turns that are saved, turns that are lost. Clients write turns over the
API; nobody edits them here."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.conversations import flush, transcript
from memories.models.conversation import BufferFailover, Conversation, ConversationChunk, ConversationGap
from memories.text import spoken_line
from outbox.admin.confirmed_actions import buttons, page_of_the_only_row
from outbox.admin.generic import ModelAdmin, TabularInline
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly
from outbox.counting import counted

# Rows and turns on the page of one conversation, and characters of a turn.
SHOWN = 50
LINE = 1_000


class Immutable(ReadOnly):
    """A page or an inline without an action: nobody has the permission to change a row."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@dataclass(frozen=True)
class SaveNow:
    """The button on a conversation's page."""

    label: str = "Save now"
    code: str = "save_now"


class FirstRows(BaseInlineFormSet):  # type: ignore[type-arg]  # generic for the type checker only
    """Only the first rows: a conversation may have thousands of memories."""

    @cached_property
    def _first(self) -> Any:
        return super().get_queryset()[:SHOWN]

    def get_queryset(self) -> Any:
        return self._first


class ChunkInline(Immutable, TabularInline[ConversationChunk, Conversation]):
    """The newest memories of the conversation. A link does not read the memory, so no vector is read."""

    model = ConversationChunk
    formset = FirstRows
    ordering = ("-number",)
    verbose_name_plural = f"memories with its saved turns (the newest {SHOWN})"
    fields = readonly_fields = ("number", "memory_link", "first_turn", "last_turn", "characters")

    @admin.display(description="memory")
    def memory_link(self, row: ConversationChunk) -> SafeString:
        page = reverse("admin:memories_memorylog_change", args=[row.memory_id])
        return format_html('<a href="{}" style="text-decoration:underline">{}</a>', page, row.memory_id)


class GapInline(Immutable, TabularInline[ConversationGap, Conversation]):
    model = ConversationGap
    fields = ("after_turn", "before_turn", "at_least", "reason", "noticed_at")


@admin.register(Conversation)
class ConversationAdmin(ReadOnly, ModelAdmin[Conversation]):
    list_display = (
        "conversation_id",
        "user_id",
        "project_id",
        "saved_turns",
        "waiting",
        "buffer",
        "last_turn_at",
        "closed_at",
        "save_retry_at",
    )
    list_filter = (
        "in_redis",
        ("closed_at", admin.EmptyFieldListFilter),
        ("save_retry_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("conversation_id", "user_id", "project_id")
    show_full_result_count = False
    paginator = BoundedPaginator
    fields = (
        "conversation_id",
        "user_id",
        "project_id",
        "last_turn_at",
        "decide",
        "waiting_turns",
        "buffer",
        "save_error",
        "save_failures",
        "save_retry_at",
        "saved_turns",
        "closed_at",
        "created_at",
    )
    readonly_fields = fields
    inlines = (ChunkInline, GapInline)
    actions = ("save_now",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Count the waiting turns of all rows of the page in one query."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        counts = transcript.waiting_counts(rows)
        for row in rows:
            row.waiting = counts[row.id]
        page.result_list = rows
        return page

    @admin.display(description="waiting", empty_value="Redis does not answer")
    def waiting(self, row: Any) -> int | None:
        count: int | None = row.waiting
        return count

    @admin.display(description="turns wait in", ordering="in_redis")
    def buffer(self, row: Conversation) -> str:
        return "Redis" if row.in_redis else "PostgreSQL"

    @admin.display(description="turns that wait to be saved")
    def waiting_turns(self, row: Conversation) -> SafeString | str:
        turns, complete = transcript.waiting(row, limit=SHOWN + 1)
        lines = [(turn["seq"], spoken_line(turn)[:LINE] or "(no words)") for turn in turns[:SHOWN]]
        if len(turns) > SHOWN:
            lines.append(
                ("", f"These are the first {SHOWN}. GET /conversations/{{id}} pages through all turns.")
            )
        if not complete:
            lines.append(("", "Redis does not answer, so the turns in Redis are not shown."))
        return format_html_join("", "<p>{} {}</p>", lines) or "none"

    def get_fields(self, request: HttpRequest, obj: Conversation | None = None) -> Any:
        may_decide = self.has_change_permission(request, obj)
        return [field for field in self.fields if may_decide or field != "decide"]

    @admin.display(description="what you can do")
    def decide(self, row: Conversation) -> SafeString:
        return buttons(
            row, [SaveNow()], self.admin_site.name, lead=bool(transcript.waiting_counts([row])[row.id])
        )

    @admin.action(description="Save now", permissions=["change"])
    def save_now(self, request: HttpRequest, rows: "QuerySet[Conversation]") -> HttpResponse | None:
        turns = sum(self._save(request, row) for row in rows)
        messages.success(request, f"{counted(turns, 'turn')} saved.")
        page = page_of_the_only_row(self, request)
        return HttpResponseRedirect(page) if page else None

    def _save(self, request: HttpRequest, row: Conversation) -> int:
        """Save the waiting turns of one conversation, and note it in the admin's log; returns how many."""
        try:
            turns = flush.close(row).turns
        except Exception as error:  # the others are saved, and the page of this one shows the error
            messages.error(request, f"Conversation {row.conversation_id} was not saved: {error}")
            return 0
        self.log_change(request, row, f"{counted(turns, 'turn')} saved")
        return turns


@admin.register(BufferFailover)
class BufferFailoverAdmin(Immutable, ModelAdmin[BufferFailover]):
    list_display = ("__str__", "failed_over_at", "retry_at", "reason", "generation")
