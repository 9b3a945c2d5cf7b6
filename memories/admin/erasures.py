"""The pages of erasures: the receipts, and a form that erases everything of a user or of a project.

They request an erasure by the same function as the API. A person needs the permission to add erasures.
"""

from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from memories.api.limits import ERASED_AT_ONCE, ID_LENGTH
from memories.api.serializers.erasure import REMAINS
from memories.erasure.preview import Preview, preview
from memories.erasure.request import request as request_erasure
from memories.models import Erasure
from outbox.admin import rendering
from outbox.admin.confirmed_actions import ConfirmedAction
from outbox.admin.generic import ModelAdmin
from outbox.admin.reading import ReadOnly

COLOURS: dict[str, str] = {
    Erasure.Status.PENDING: rendering.AMBER,
    Erasure.Status.RUNNING: rendering.BLUE,
    Erasure.Status.DONE: rendering.GREEN,
    Erasure.Status.FAILED: rendering.RED,
}


def _erase_memories(rows: QuerySet[Any], by: str, reason: str) -> int:
    """Request the erasure of these memories: a receipt for each tenant, and for each ERASED_AT_ONCE memories of it."""
    found = list(rows.order_by("user_id", "project_id", "pk").values_list("user_id", "project_id", "pk"))
    for (user_id, project_id), group in groupby(found, key=lambda row: row[:2]):
        ids = [pk for *_, pk in group]
        for start in range(0, len(ids), ERASED_AT_ONCE):
            request_erasure(
                user_id=user_id,
                project_id=project_id,
                memory_log_ids=ids[start : start + ERASED_AT_ONCE],
                requested_by=f"user {by}",
            )
    return len(found)


ERASE = ConfirmedAction(
    name="Erase",
    consequence="will be erased from every store, with all versions, the texts of their events and their places in the "
    "index. Nothing brings them back",
    done="will be erased. The receipt says when it is done and verified",
    noun=("memory", "memories"),
    permission="erase",
    next_page="admin:memories_erasure_changelist",
    eligible=lambda rows: rows,
    act=_erase_memories,
)


class EraseForm(forms.Form):
    """Whom to forget."""

    user_id = forms.CharField(max_length=ID_LENGTH, widget=UnfoldAdminTextInputWidget)
    project_id = forms.CharField(
        max_length=ID_LENGTH,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="empty: all projects of the user",
    )
    api_keys = forms.BooleanField(
        label="API keys",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="delete the API keys of the user or project as well",
    )


@admin.register(Erasure)
class ErasureAdmin(ReadOnly, ModelAdmin[Erasure]):
    """A receipt names ids and no words, and stays."""

    list_display = (
        "id",
        "user_id",
        "project",
        "about",
        "state",
        "verified",
        "requested_at",
        "finished_at",
        "requested_by",
    )
    list_filter = ("status", "verified")
    search_fields = ("user_id",)
    search_help_text = "A user's id"
    fields = (
        "state",
        "verified",
        "user_id",
        "project",
        "about",
        "api_keys",
        "removed",
        "still_there",
        "waits_for",
        "remains",
        "requested_by",
        "requested_at",
        "began_at",
        "finished_at",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_erase(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @staticmethod
    def may_erase(request: HttpRequest) -> bool:
        return request.user.has_perm("memories.add_erasure")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Erasure], search_term: str
    ) -> tuple[QuerySet[Erasure], bool]:
        term = search_term.replace("\x00", "").strip()
        return (queryset.filter(user_id=term) if term else queryset), False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask whom to forget, then show how much that is, and request it when a person confirms this number."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._show(request, EraseForm(initial=request.GET.dict()))
        form = EraseForm(request.POST)
        if not form.is_valid():
            return self._show(request, form)
        counted = preview(**form.cleaned_data)
        if request.POST.get("counted") != str(counted):
            return self._show(request, form, counted)
        erasure = request_erasure(**form.cleaned_data, requested_by=f"user {request.user.get_username()}")
        messages.success(
            request, "The erasure is requested. This page is its receipt: reload it to see how far it is."
        )
        return HttpResponseRedirect(reverse("admin:memories_erasure_change", args=[erasure.pk]))

    def _show(self, request: HttpRequest, form: EraseForm, counted: Preview | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase a user or a project",
            "opts": self.opts,
            "form": form,
            "counted": counted,
            "has_changed": counted is not None and "counted" in request.POST,
            "remains": REMAINS,
        }
        return TemplateResponse(request, "admin/memories/erase.html", context)

    @admin.display(description="status", ordering="status")
    def state(self, erasure: Erasure) -> SafeString:
        return rendering.badge(erasure.status, COLOURS)

    @admin.display(description="project id")
    def project(self, erasure: Erasure) -> str:
        return erasure.project_id or "all"

    @admin.display(description="about")
    def about(self, erasure: Erasure) -> str:
        if erasure.is_whole:
            return "everything"
        parts = [_named("memory", "memories", erasure.memory_log_ids)]
        parts += [_named("conversation", "conversations", erasure.conversation_ids)]
        return "; ".join(filter(None, parts))

    @admin.display(description="what was removed")
    def removed(self, erasure: Erasure) -> SafeString | str:
        return _numbers(erasure.counts) or "nothing yet"

    @admin.display(description="what the last verification found")
    def still_there(self, erasure: Erasure) -> SafeString | str:
        found = rendering.json_block(erasure.found) if erasure.found else ""
        return found or ("nothing: every store was asked again" if erasure.verified else "not verified yet")

    @admin.display(description="what it cannot reach")
    def remains(self, erasure: Erasure) -> SafeString:
        return format_html_join("", "<p>{}</p>", ((line,) for line in REMAINS))


# Ids that a line names.
NAMED = 20


def _named(one: str, many: str, ids: list[Any]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{one if len(ids) == 1 else many} {', '.join(map(str, ids[:NAMED]))}{more}" if ids else ""


def _numbers(counts: dict[str, dict[str, int]]) -> SafeString:
    rows = (
        (store, name.replace("_", " "), f"{number:,}")
        for store, numbers in sorted(counts.items())
        for name, number in numbers.items()
        if number
    )
    return format_html_join("", "<div>{}, {}: {}</div>", rows)
