"""Conversations in the admin: waiting turns, chunks and gaps. Read-only, because turns come over the API."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from memories.conversations import flush, transcript
from memories.conversations.buffers.redis_client import RedisAway
from memories.models.conversation import BufferFailover, Conversation, ConversationChunk, ConversationGap
from outbox.admin.generic import ModelAdmin, TabularInline
from outbox.admin.paging import BoundedPaginator
from outbox.admin.reading import ReadOnly


class Immutable(ReadOnly):
    """No changes and no actions either."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ChunkInline(Immutable, TabularInline[ConversationChunk, Conversation]):
    model = ConversationChunk
    fields = ("number", "memory", "first_turn", "last_turn", "characters")


class GapInline(Immutable, TabularInline[ConversationGap, Conversation]):
    model = ConversationGap
    fields = ("after_turn", "before_turn", "at_least", "reason", "noticed_at")


@admin.register(Conversation)
class ConversationAdmin(Immutable, ModelAdmin[Conversation]):
    list_display = (
        "conversation_id",
        "user_id",
        "project_id",
        "saved_turns",
        "waiting",
        "buffer",
        "last_turn_at",
        "closed_at",
    )
    list_filter = ("in_redis", ("closed_at", admin.EmptyFieldListFilter))
    search_fields = ("conversation_id", "user_id", "project_id")
    show_full_result_count = False
    paginator = BoundedPaginator
    fields = (
        *(
            "conversation_id",
            "user_id",
            "project_id",
            "created_at",
            "last_turn_at",
            "closed_at",
            "saved_turns",
        ),
        *("waiting_turns", "buffer"),
    )
    readonly_fields = ("waiting_turns", "buffer")
    inlines = (ChunkInline, GapInline)
    actions = ("save_now",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Count the waiting turns of all rows of the page at once."""
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
        turns, complete = transcript.waiting(row)
        lines = [(turn["seq"], turn["role"], turn["content"]) for turn in turns]
        if not complete:
            lines.append(("", "", "Redis does not answer; the turns that it holds are not shown."))
        return format_html_join("", "<p>{} {}: {}</p>", lines) or "none"

    @admin.action(description="Save now", permissions=["save"])
    def save_now(self, request: HttpRequest, rows: "QuerySet[Conversation]") -> None:
        turns = 0
        for row in rows:
            try:
                turns += flush.close(row).turns
            except RedisAway as away:
                messages.error(request, f"{row.conversation_id} was not saved: {away}")
        messages.success(request, f"{turns} turns saved.")

    def has_save_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("memories.change_conversation")


@admin.register(BufferFailover)
class BufferFailoverAdmin(Immutable, ModelAdmin[BufferFailover]):
    list_display = ("__str__", "failed_over_at", "retry_at", "reason", "generation")
